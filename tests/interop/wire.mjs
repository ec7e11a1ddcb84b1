// Wire: envelopes, records and batches of a microgrid, written from protocols/SPEC.md alone.
//
// Section numbers are those of that paper. Nothing of the Python packages is used or read:
// where this file and a node disagree, one of them or the paper is wrong.

import { createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";

import { Sign1 } from "@auth0/cose";
import { decode, encode } from "cborg";

const FORMAT_VERSION = 1;
const MAX_DEPTH = 12;
const MAX_INT = 2n ** 63n - 1n;
const MAX_TIME_S = 253_402_300_799;
const MAX_WH = 10_000_000_000_000;
const MAX_POWER_W = 10_000_000;
const MAX_PAYLOAD_BYTES = 99_328;
const SIGNATURE_BYTES = 64;
const MAX_BATCH_BYTES = 16_384;
const MAX_BATCH_RECORDS = 256;
const COSE_SIGN1 = 0xd2;
const EDDSA = -8;
const ZERO = Buffer.from([0]);

/** Bytes that are not what the paper says; whoever wrote them is at fault. */
export class Refused extends Error {}

// --- section 1: encoding

/** The value of deterministic CBOR; maps become Map. */
export function read(bytes) {
  const value = asRefused("CBOR", () =>
    decode(bytes, {
      useMaps: true,
      strict: true,
      allowIndefinite: false,
      allowUndefined: false,
      allowInfinity: false,
      allowNaN: false,
      rejectDuplicateMapKeys: true,
    }),
  );
  checkShape(value, 0);
  if (!equal(encode(value), bytes)) throw new Refused("CBOR that is not deterministic");
  return value;
}

/** Deterministic CBOR of a value made of Map, Array, Uint8Array, text, whole numbers, booleans and null. */
export function write(value) {
  checkShape(value, 0);
  return encode(value);
}

function checkShape(value, depth) {
  if (depth > MAX_DEPTH) throw new Refused(`CBOR nested more than ${MAX_DEPTH} deep`);
  if (Array.isArray(value)) {
    for (const item of value) checkShape(item, depth + 1);
  } else if (value instanceof Map) {
    for (const [key, item] of value) {
      if (!isWhole(key) || key < 0) throw new Refused("CBOR map key that is no unsigned integer");
      checkShape(item, depth + 1);
    }
  } else if (typeof value === "number" || typeof value === "bigint") {
    if (!isWhole(value)) throw new Refused("CBOR number that is no integer of 64 bits");
  } else if (value instanceof Uint8Array || typeof value === "boolean" || value === null) {
    return;
  } else if (typeof value !== "string" || !value.isWellFormed()) {
    throw new Refused("CBOR value of a type that is not used");
  }
}

function isWhole(value) {
  if (typeof value === "bigint") return value >= -MAX_INT - 1n && value <= MAX_INT;
  return Number.isSafeInteger(value);
}

// --- section 4: identities

/** What names a key inside one microgrid. */
export const keyIdOf = (publicKey) => sha256(publicKey).subarray(0, 8);

/** What names a meter, from its first key. */
export const meterIdOf = (publicKey) =>
  sha256(Buffer.from("meshnode meter"), ZERO, publicKey).subarray(0, 8);

/** What names an account, from its first member key. */
export const accountIdOf = (publicKey) =>
  sha256(Buffer.from("meshnode account"), ZERO, publicKey).subarray(0, 16);

/** An Ed25519 key pair from its 32-byte seed (RFC 8032); `public` are the 32 raw bytes. */
export function keyPair(seed) {
  // RFC 8410: the fixed head of an Ed25519 private key in PKCS #8.
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const jwk = createPublicKey(secret).export({ format: "jwk" });
  return { secret, public: Buffer.from(jwk.x, "base64url") };
}

// --- section 6: records

const integer = (low, high) => (value, place) => {
  if (typeof value !== "number" && typeof value !== "bigint") throw new Refused(`${place}: not an integer`);
  if (value < low || value > high) throw new Refused(`${place}: ${value} is out of bounds`);
  return value;
};
const bytes = (low, high = low) => (value, place) => {
  if (!(value instanceof Uint8Array)) throw new Refused(`${place}: not bytes`);
  if (value.length < low || value.length > high) throw new Refused(`${place}: ${value.length} bytes`);
  return hex(value);
};
// Which letters a name may have (section 5) is not judged here: a reading with another letter cannot become final.
const name = (low, high) => (value, place) => {
  if (typeof value !== "string" || value !== value.trim()) throw new Refused(`${place}: not a name`);
  const length = Buffer.byteLength(value);
  if (length < low || length > high) throw new Refused(`${place}: ${length} bytes`);
  return value;
};
const list = (item, low, high) => (value, place) => {
  if (!Array.isArray(value)) throw new Refused(`${place}: not a list`);
  if (value.length < low || value.length > high) throw new Refused(`${place}: ${value.length} items`);
  return value.map((one, number) => item(one, `${place}[${number}]`));
};
const nested = (fields) => (value, place) => fieldsOf(fields, value, place);
const oneOf = (variants) => (value, place) => {
  const variant = Array.isArray(value) && value.length === 2 ? variants[value[0]] : undefined;
  if (variant === undefined) throw new Refused(`${place}: unknown variant`);
  return { [variant.name]: nested(variant.fields)(value[1], `${place}.${variant.name}`) };
};
// A field of a table: [name, type], and for an optional one its default (null: not there).
const energy = integer(0, MAX_WH);
const power = integer(-MAX_POWER_W, MAX_POWER_W);
const time = integer(0, MAX_TIME_S);

const OPEN_COUNTERS = {
  1: ["import_wh", energy],
  2: ["export_wh", energy],
  3: ["produced_wh", energy, null],
  4: ["power_w", power, null],
  5: ["reactive_varh", energy, null],
  6: ["self_consumed_wh", energy, null],
  7: ["consumed_wh", energy, null],
  8: ["charged_wh", energy, null],
  9: ["discharged_wh", energy, null],
  10: ["charge_ppm", integer(0, 1_000_000), null],
  11: ["phases_w", list(power, 1, 3), null],
  12: ["subscription", name(1, 16), null],
};

const READING = {
  1: ["meter", bytes(8)],
  2: ["period_start_s", time],
  3: ["values", oneOf({ 0: { name: "open", fields: OPEN_COUNTERS } })],
  4: ["version", integer(0, 255), 0],
  5: ["quality", integer(1, 3), 3],
};

const ORDER = {
  1: ["nonce", integer(0, MAX_INT)],
  2: ["valid_until_s", time],
  3: ["side", integer(1, 2)],
  4: ["period_start_s", time],
  5: ["energy_wh", integer(1, 10_000_000)],
  6: ["price_u_kwh", integer(0, 1_000_000_000)],
};

/** Kind of a Reading and of an Order. */
export const READING_KIND = 4;
export const ORDER_KIND = 5;

const RECORDS = { [READING_KIND]: READING, [ORDER_KIND]: ORDER };

/** The fields of a record by name, as in the JSON form (section 14); the kind is read from the payload. */
export function recordOf(payload) {
  const map = read(payload);
  const table = map instanceof Map ? RECORDS[map.get(0)] : undefined;
  if (table === undefined) throw new Refused("a record of another kind");
  map.delete(0);
  return fieldsOf(table, map, "record");
}

/** The payload of a record of this kind, whose fields are numbers by name. */
export function payloadOf(kind, fields) {
  const map = new Map([[0, kind]]);
  for (const [key, [label]] of Object.entries(RECORDS[kind])) map.set(Number(key), fields[label]);
  const payload = write(map);
  recordOf(payload);
  return payload;
}

function fieldsOf(table, map, place) {
  if (!(map instanceof Map)) throw new Refused(`${place}: not a map`);
  for (const key of map.keys()) {
    if (!(key in table)) throw new Refused(`${place}: unknown key ${key}`);
  }
  const found = {};
  for (const [key, [label, type, ...optional]] of Object.entries(table)) {
    const value = map.get(Number(key));
    if (value === undefined) {
      if (optional.length === 0) throw new Refused(`${place}: ${label} is missing`);
    } else {
      if (value === optional[0]) throw new Refused(`${place}: ${label} is a default that is written out`);
      found[label] = type(value, `${place}.${label}`);
    }
  }
  return found;
}

// --- section 3: envelopes

/** What an envelope says before anybody has checked its signature: {keyId, kind, payload, recordId}. */
export function openEnvelope(envelope, chainId) {
  if (envelope[0] !== COSE_SIGN1) throw new Refused("envelope: not a COSE_Sign1");
  const parts = read(envelope.subarray(1));
  if (!Array.isArray(parts) || parts.length !== 4) throw new Refused("envelope: not four parts");
  const [head, unprotected, payload, signature] = parts;
  for (const part of [head, payload, signature]) {
    if (!(part instanceof Uint8Array)) throw new Refused("envelope: a part that is not bytes");
  }
  if (!(unprotected instanceof Map) || unprotected.size > 0) throw new Refused("envelope: unprotected header");
  if (signature.length !== SIGNATURE_BYTES) throw new Refused("envelope: signature of another length");
  if (payload.length > MAX_PAYLOAD_BYTES) throw new Refused("envelope: payload too large");
  const keyId = head.subarray(5);
  if (keyId.length !== 8 || !equal(protectedHeader(keyId), head)) throw new Refused("envelope: protected header");
  const record = read(payload);
  const kind = record instanceof Map ? record.get(0) : undefined;
  if (kind === undefined) throw new Refused("envelope: payload without a kind");
  return { keyId: hex(keyId), kind, payload, recordId: hex(sha256(sigStructure(head, kind, chainId, payload))) };
}

/** Have the COSE library check an envelope; throws Refused unless the signature holds. */
export async function verifyEnvelope(envelope, kind, chainId, publicKey) {
  const message = Sign1.decode(envelope);
  checkPoints(publicKey, message.signature);
  try {
    await message.verify(publicKeyOf(publicKey), { externalAAD: externalAad(kind, chainId) });
  } catch (error) {
    throw new Refused(`envelope: ${error.code ?? error.message}`);
  }
}

/** Whether a bare signature holds; throws Refused at a point that section 3 refuses. */
export function holds(publicKey, message, signature) {
  checkPoints(publicKey, signature);
  return verify(null, message, publicKeyOf(publicKey), signature);
}

/** Sign a record: {envelope, recordId}; put together here because the COSE library signs without external_aad only. */
export function signRecord(payload, chainId, pair) {
  const head = protectedHeader(keyIdOf(pair.public));
  const message = sigStructure(head, read(payload).get(0), chainId, payload);
  const parts = [head, new Map(), payload, sign(null, message, pair.secret)];
  return { envelope: Buffer.concat([Buffer.from([COSE_SIGN1]), write(parts)]), recordId: hex(sha256(message)) };
}

const protectedHeader = (keyId) => write(new Map([[1, EDDSA], [4, keyId]]));
const externalAad = (kind, chainId) => write([FORMAT_VERSION, kind, chainId]);
const sigStructure = (head, kind, chainId, payload) =>
  write(["Signature1", head, externalAad(kind, chainId), payload]);

// The y coordinates of points of small order, and the prime: what OpenSSL lets pass and section 3 refuses.
const PRIME = 2n ** 255n - 19n;
const SMALL_ORDER = new Set([
  0n,
  1n,
  PRIME - 1n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd83d3d706a17c7n,
]);

function checkPoints(publicKey, signature) {
  for (const point of [publicKey, signature.subarray(0, 32)]) {
    const y = BigInt(`0x${hex(Buffer.from(point).reverse())}`) & (2n ** 255n - 1n);
    if (y >= PRIME || SMALL_ORDER.has(y)) throw new Refused("signature: a point that is refused");
  }
}

function publicKeyOf(raw) {
  const key = { kty: "OKP", crv: "Ed25519", x: Buffer.from(raw).toString("base64url") };
  return createPublicKey({ key, format: "jwk" });
}

// --- section 6.5: batches

/** The envelopes of a batch. */
export function readBatch(batch) {
  const envelopes = read(batch);
  if (!Array.isArray(envelopes) || !envelopes.every((one) => one instanceof Uint8Array)) {
    throw new Refused("batch: not a list of byte strings");
  }
  if (envelopes.length < 1 || envelopes.length > MAX_BATCH_RECORDS) throw new Refused("batch: too few or too many");
  if (envelopes.length > 1 && batch.length > MAX_BATCH_BYTES) throw new Refused("batch: too large");
  if (new Set(envelopes.map(hex)).size !== envelopes.length) throw new Refused("batch: an envelope twice");
  return envelopes;
}

// --- small things

export const hex = (data) => Buffer.from(data).toString("hex");

export function sha256(...parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

function equal(one, other) {
  return Buffer.compare(Buffer.from(one), Buffer.from(other)) === 0;
}

function asRefused(place, action) {
  try {
    return action();
  } catch (error) {
    throw new Refused(`${place}: ${error.message}`);
  }
}
