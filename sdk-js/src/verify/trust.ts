/** What an offline verification trusts: the chain's genesis document, or a checkpoint of it. */

import { fromHex, isEqual, toHex } from './bytes.js';
import { binary, bool, list, record, text, whole } from './codec.js';
import { hash, isValidPublicKey, parseAddress, TAG_GENESIS } from './crypto.js';
import { readVerifyingKey } from './groth16.js';
import type { VerifyingKey } from './groth16.js';
import { asBoolean, asList, asObject, asText, asWhole, checkMembers, readDocument } from './json.js';
import type { Document, JsonObject } from './json.js';
import {
  address,
  amount,
  Authority,
  AuthoritySet,
  counter,
  digest,
  MAX_AUTHORITIES,
  time,
} from './records.js';
import { InvalidTrust, Rejected } from './rejection.js';

const MAX_GENESIS_BYTES = 4 * 1024 * 1024;
const MAX_CHECKPOINT_BYTES = 64 * 1024;
const MAX_ALLOCATIONS = 100_000;
const CURVE = 'bls12-381';
/** SHA-256 of the circuit's `.r1cs` file, which genesis names. */
const CIRCUIT = 'e2826004a613b6487b8b55f0764c0673cb9f01c20f5891ff84f89b6abb8b09ac';
const AMOUNT_TEXT = /^(0|[1-9][0-9]{0,18})$/;

const basisPoints = whole(0, 10_000);

/** The parameters in the order of their encoding. */
const PARAMETERS = {
  minimum_fee_rate: amount,
  maximum_validity: counter,
  coordinator_share: basisPoints,
  network_share: basisPoints,
  minimum_bond: amount,
  lapse_penalty: amount,
  maximum_leases: whole(1, 1024),
  maximum_attempts: whole(1, 8),
  cancel_grace: time,
  maximum_job_duration: time,
  outage_gap: time,
  maximum_deadlines: whole(1, 4096),
  clock_tolerance: time,
  block_interval: time,
  heartbeat_interval: time,
  round_trip_bound: time,
  vote_validity: whole(1, 10 ** 9),
};
const WIDE = new Set(['minimum_fee_rate', 'maximum_validity', 'minimum_bond', 'lapse_penalty']);

const Genesis = record({
  name: text(/^[a-z0-9-]{1,64}$/),
  isDev: bool,
  time,
  parameters: record(PARAMETERS),
  proof: record({ keyId: digest, circuit: digest, curve: text(/^/) }),
  verifyingKey: binary(0, 4096),
  authorities: list(Authority, 1, MAX_AUTHORITIES),
  allocations: list(record({ address, amount }), 1, MAX_ALLOCATIONS),
});

/** What the verifier of a bundle knows already. Made by `loadGenesis` or `loadCheckpoint`. */
export interface Trust {
  readonly chainId: Uint8Array;
  readonly isDev: boolean;
  /** A set that certified the chain no later than the receipt's block. */
  readonly authorities: AuthoritySet;
  readonly verifyingKey: VerifyingKey;
}

/** Read a chain's genesis document. Throws `InvalidTrust`. */
export function loadGenesis(document: Document): Trust {
  const { genesis, members } = translate('a genesis document', () => {
    const raw = readDocument(document, MAX_GENESIS_BYTES);
    checkMembers(raw, [
      'name', 'is_dev', 'time', 'parameters', 'proof', 'verifying_key', 'authorities', 'allocations',
    ]);
    const members = readAuthorities(raw['authorities']);
    const genesis = {
      name: asText(raw['name']),
      isDev: asBoolean(raw['is_dev']),
      time: asWhole(raw['time']),
      parameters: readParameters(asObject(raw['parameters'])),
      proof: readProof(asObject(raw['proof'])),
      verifyingKey: fromHex(raw['verifying_key']),
      authorities: members,
      allocations: asList(raw['allocations']).map(readAllocation),
    };
    return { genesis: { ...genesis, encoded: Genesis.encode(genesis) }, members };
  });
  const verifyingKey = checkKey(genesis.verifyingKey, genesis.isDev);
  if (!isEqual(verifyingKey.keyId, genesis.proof.keyId)) {
    throw new InvalidTrust('the verifying key is not the one that the key id names');
  }
  if (toHex(genesis.proof.circuit) !== CIRCUIT || genesis.proof.curve !== CURVE) {
    throw new InvalidTrust('the proof parameters name another circuit or curve');
  }
  checkGenesis(genesis);
  return {
    chainId: hash(TAG_GENESIS, genesis.encoded),
    isDev: genesis.isDev,
    authorities: { epoch: 0n, members },
    verifyingKey,
  };
}

/** Read a checkpoint, worth what its source is worth. Throws `InvalidTrust`. */
export function loadCheckpoint(document: Document): Trust {
  const read = translate('a checkpoint', () => {
    const raw = readDocument(document, MAX_CHECKPOINT_BYTES);
    checkMembers(raw, ['format', 'chain_id', 'is_dev', 'verifying_key', 'epoch', 'authorities']);
    if (raw['format'] !== 'aitbc-checkpoint/1') throw new Rejected('MALFORMED', 'another format');
    const authorities = {
      epoch: BigInt(asWhole(raw['epoch'])),
      members: readAuthorities(raw['authorities']),
    };
    AuthoritySet.encode(authorities);
    const chainId = fromHex(raw['chain_id']);
    digest.encode(chainId);
    return {
      chainId,
      isDev: asBoolean(raw['is_dev']),
      authorities,
      key: fromHex(raw['verifying_key']),
    };
  });
  return {
    chainId: read.chainId,
    isDev: read.isDev,
    authorities: read.authorities,
    verifyingKey: checkKey(read.key, read.isDev),
  };
}

function checkKey(data: Uint8Array, isDev: boolean): VerifyingKey {
  const key = readVerifyingKey(data);
  if (key.isDev && !isDev) {
    throw new InvalidTrust('the DEV key proves anything; only a chain marked DEV may use it');
  }
  return key;
}

function checkGenesis(genesis: {
  parameters: { [name: string]: number | bigint };
  allocations: { address: Uint8Array; amount: bigint }[];
}): void {
  const { allocations, parameters } = genesis;
  if (new Set(allocations.map((item) => toHex(item.address))).size !== allocations.length) {
    throw new InvalidTrust('an address has two allocations');
  }
  if (allocations.reduce((sum, item) => sum + item.amount, 0n) > 2n ** 63n - 1n) {
    throw new InvalidTrust('the supply is over the largest amount');
  }
  const get = (name: string): number => Number(parameters[name]);
  if (get('coordinator_share') + get('network_share') > 10_000) {
    throw new InvalidTrust('the shares of coordinator and network exceed the whole');
  }
  if (get('round_trip_bound') === 0 || get('block_interval') === 0) {
    throw new InvalidTrust('the timers of consensus must be longer than nothing');
  }
  if (get('outage_gap') <= Math.max(get('heartbeat_interval'), get('block_interval'))) {
    throw new InvalidTrust('an idle chain would be an outage, and no deadline would ever come');
  }
}

/** The parameters as they are encoded: `bigint` where the chain allows more than 2^53. */
function readParameters(raw: JsonObject): any {
  checkMembers(raw, Object.keys(PARAMETERS));
  return Object.fromEntries(
    Object.keys(PARAMETERS).map((name) => {
      const value = asWhole(raw[name]);
      return [name, WIDE.has(name) ? BigInt(value) : value];
    }),
  );
}

function readProof(raw: JsonObject): { keyId: Uint8Array; circuit: Uint8Array; curve: string } {
  checkMembers(raw, ['key_id', 'circuit', 'curve']);
  return {
    keyId: fromHex(raw['key_id']),
    circuit: fromHex(raw['circuit']),
    curve: asText(raw['curve']),
  };
}

function readAllocation(value: unknown): { address: Uint8Array; amount: bigint } {
  const raw = asObject(value);
  checkMembers(raw, ['address', 'amount_base']);
  const text = asText(raw['amount_base']);
  if (!AMOUNT_TEXT.test(text)) throw new Rejected('MALFORMED', 'not an amount');
  return { address: parseAddress(raw['address']), amount: BigInt(text) };
}

function readAuthorities(value: unknown): Authority[] {
  const members = asList(value).map((item) => {
    const raw = asObject(item);
    checkMembers(raw, ['key', 'account']);
    return { key: fromHex(raw['key']), account: parseAddress(raw['account']) };
  });
  const isDistinct = new Set(members.map((member) => toHex(member.key))).size === members.length;
  if (!isDistinct || !members.every((member) => isValidPublicKey(member.key))) {
    throw new Rejected('MALFORMED', 'an authority key is named twice or is not of prime order');
  }
  return members;
}

function translate<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Rejected) throw new InvalidTrust(`not ${what}: ${error.detail}`);
    throw error;
  }
}
