// Vectors: what the JavaScript member makes of the test vectors, one JSON object on standard output.
//
// Usage: node vectors.mjs FOLDER, the folder with records.json, envelopes.json and signatures.json.

import { readFileSync } from "node:fs";
import { join } from "node:path";

import * as wire from "./wire.mjs";

const load = (file) => JSON.parse(readFileSync(join(process.argv[2], file), "utf8"));
const bytes = (text) => Buffer.from(text, "hex");
const NO_CHAIN = Buffer.alloc(32);

async function envelope(vector) {
  const [data, chainId] = [bytes(vector.envelope), bytes(vector.chain_id)];
  const { kind, payload, recordId } = wire.openEnvelope(data, chainId);
  await wire.verifyEnvelope(data, kind, chainId, bytes(vector.public_key));
  const fields = kind === wire.READING_KIND ? wire.recordOf(payload) : null;
  return { name: vector.name, record_id: recordId, fields };
}

function answer(action) {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof wire.Refused)) throw error;
    return false;
  }
}

const signed = load("records.json").good.filter((vector) => "envelope" in vector);
const envelopes = await Promise.all(signed.map(envelope));
const opened = load("envelopes.json")
  .bad.filter(({ envelope: data }) => answer(() => wire.openEnvelope(bytes(data), NO_CHAIN)))
  .map(({ name }) => name);
const holding = load("signatures.json")
  .filter(({ public_key, message, signature }) =>
    answer(() => wire.holds(bytes(public_key), bytes(message), bytes(signature))),
  )
  .map(({ name }) => name);
console.log(JSON.stringify({ envelopes, opened, holding }));
