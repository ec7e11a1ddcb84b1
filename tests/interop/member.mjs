// Member: a js-libp2p peer that takes part in a microgrid's gossip as one of its members.
//
// Reads JSON lines from standard input: first the settings
//     {"genesis": path, "device_seed": hex, "member_seed": hex, "listen": [multiaddr], "dial": [multiaddr]}
// then commands, until the input ends:
//     {"do": "order", "side": 1, "period_start_s": ..., "energy_wh": ..., "price_u_kwh": ..., "valid_until_s": ...}
//     {"do": "check", "envelope": hex, "chain_id": hex}
// and prints one JSON object a line: `ready`, `dialled`, `not dialled`, `reading`, `refused`, `ordered`, `checked`.

import "./older.mjs";

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";

import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { gossipsub, TopicValidatorResult } from "@libp2p/gossipsub";
import { identify } from "@libp2p/identify";
import { tcp } from "@libp2p/tcp";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";

import * as wire from "./wire.mjs";

const DIAL_DEADLINE_MS = 10_000;

const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }));

/** What a member needs of a genesis: the chain id, and who signs for which meter, by key id. */
function founded(genesis) {
  const members = wire.read(genesis).get(10);
  const meters = new Map();
  for (const member of members) {
    for (const entry of member.get(5) ?? []) {
      const publicKey = entry.get(1);
      meters.set(wire.hex(wire.keyIdOf(publicKey)), { publicKey, id: wire.hex(wire.meterIdOf(publicKey)) });
    }
  }
  return { chainId: wire.sha256(genesis), meters };
}

/** A reading whose signature holds and whose signer is the meter that it names: {recordId, reading}. */
async function checkedReading(envelope, chainId, meters) {
  const { keyId, kind, payload, recordId } = wire.openEnvelope(envelope, chainId);
  if (kind !== wire.READING_KIND) throw new wire.Refused(`a record of kind ${kind}`);
  const meter = meters.get(keyId);
  if (meter === undefined) throw new wire.Refused("signed by no meter of the genesis");
  await wire.verifyEnvelope(envelope, kind, chainId, meter.publicKey);
  const reading = wire.recordOf(payload);
  if (reading.meter !== meter.id) throw new wire.Refused("signed by another meter");
  return { recordId, reading };
}

/** Print every reading of a batch; whether the batch is worth passing on. */
async function takeReadings(message, chainId, meters) {
  const author = message.from.toString();
  try {
    for (const envelope of wire.readBatch(message.data)) {
      const found = await checkedReading(envelope, chainId, meters);
      say("reading", { author, record_id: found.recordId, record: found.reading, envelope: wire.hex(envelope) });
    }
    return TopicValidatorResult.Accept;
  } catch (error) {
    if (!(error instanceof wire.Refused)) throw error;
    say("refused", { author, why: error.message });
    // Not Reject: who delivered it had no reason to look inside, only its author is at fault.
    return TopicValidatorResult.Ignore;
  }
}

/** The id that all members know a message by: its author and its number. js-libp2p's own takes the author's key. */
function messageId(message) {
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(message.sequenceNumber);
  return Buffer.concat([message.from.toMultihash().bytes, number]);
}

async function openNode(settings, topics) {
  return createLibp2p({
    privateKey: await generateKeyPairFromSeed("Ed25519", Buffer.from(settings.device_seed, "hex")),
    addresses: { listen: settings.listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: {
      identify: identify(),
      pubsub: gossipsub({ globalSignaturePolicy: "StrictSign", msgIdFn: messageId, allowedTopics: topics }),
    },
  });
}

async function dial(node, address) {
  try {
    await node.dial(multiaddr(address), { signal: AbortSignal.timeout(DIAL_DEADLINE_MS) });
    say("dialled", { address });
  } catch (error) {
    say("not dialled", { address, why: `${error.name}: ${error.message}` });
  }
}

async function order(command, node, topic, chainId, member) {
  // 62 bits: numbers that JavaScript has no exact `number` for are part of the format.
  const nonce = randomBytes(8).readBigUInt64BE() >> 2n;
  const payload = wire.payloadOf(wire.ORDER_KIND, { ...command, nonce });
  const { envelope, recordId } = wire.signRecord(payload, chainId, member);
  await wire.verifyEnvelope(envelope, wire.ORDER_KIND, chainId, member.public);
  const { recipients } = await node.services.pubsub.publish(topic, wire.write([envelope]));
  say("ordered", { record_id: recordId, envelope: wire.hex(envelope), recipients: recipients.length });
}

async function check(command, meters) {
  try {
    const chainId = Buffer.from(command.chain_id, "hex");
    const found = await checkedReading(Buffer.from(command.envelope, "hex"), chainId, meters);
    say("checked", { holds: true, record_id: found.recordId });
  } catch (error) {
    if (!(error instanceof wire.Refused)) throw error;
    say("checked", { holds: false, why: error.message });
  }
}

async function main() {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const settings = JSON.parse((await lines.next()).value);
  const { chainId, meters } = founded(await readFile(settings.genesis));
  const member = wire.keyPair(Buffer.from(settings.member_seed, "hex"));
  const prefix = `/meshnode/${wire.hex(chainId).slice(0, 16)}`;
  const [readings, records] = [`${prefix}/readings`, `${prefix}/records`];
  const node = await openNode(settings, [readings, records]);
  const { pubsub } = node.services;
  pubsub.topicValidators.set(readings, (_, message) => takeReadings(message, chainId, meters));
  pubsub.subscribe(readings);
  say("ready", {
    peer_id: node.peerId.toString(),
    chain_id: wire.hex(chainId),
    addresses: node.getMultiaddrs().map(String),
  });
  await Promise.all(settings.dial.map((address) => dial(node, address)));
  for await (const line of lines) {
    const command = JSON.parse(line);
    if (command.do === "order") await order(command, node, records, chainId, member);
    else if (command.do === "check") await check(command, meters);
    else throw new Error(`unknown command ${command.do}`);
  }
  await node.stop();
}

await main();
