/** Which finality proofs hold, and how authority sets follow each other (rules C2 to C5, C19). */

import { concat, isEqual } from './bytes.js';
import { encodeCount, encodeNumber } from './codec.js';
import { isValidSignature, TAG_VOTE } from './crypto.js';
import {
  computeAuthoritiesHash,
  computeHeaderHash,
  digest,
  FINALIZE,
  NULLIFY,
} from './records.js';
import type { AuthoritySet, Ballot, Certificate, FinalityProof, Header, Succession } from './records.js';
import { Rejected } from './rejection.js';
import type { Reason } from './rejection.js';

const PROTOCOL_VERSION = 1n;
const NO_BLOCK = new Uint8Array(32);

/** The authorities of one epoch of one chain: all that a certificate is checked against. */
export class Committee {
  readonly size: number;
  readonly quorum: number;
  readonly epoch: bigint;
  readonly authoritiesHash: Uint8Array;

  constructor(
    readonly chainId: Uint8Array,
    readonly authorities: AuthoritySet,
  ) {
    this.size = authorities.members.length;
    this.quorum = this.size - Math.floor((this.size - 1) / 3);
    this.epoch = authorities.epoch;
    this.authoritiesHash = computeAuthoritiesHash(authorities);
  }

  getKey(index: number): Uint8Array {
    return this.authorities.members[index]?.key ?? new Uint8Array(0);
  }
}

/** Check that a proof makes the block of `header` final. Throws `Rejected`. */
export function verifyFinality(header: Header, proof: FinalityProof, committee: Committee): void {
  checkPlace(header, committee);
  for (const child of proof.headers) {
    checkPlace(child, committee);
    if (!isEqual(child.parent, computeHeaderHash(header))) {
      throw new Rejected('BAD_CERTIFICATE', 'the headers are not a chain');
    }
    if (child.height !== header.height + 1n || child.parentView !== header.view) {
      throw new Rejected('BAD_HEADER', 'height or parent view');
    }
    if (child.view <= header.view) throw new Rejected('BAD_HEADER', 'a view that does not ascend');
    header = child;
  }
  const { ballot } = proof.certificate;
  if (ballot.kind !== FINALIZE) throw new Rejected('BAD_CERTIFICATE', 'not a finalize certificate');
  if (!isEqual(ballot.blockHash, computeHeaderHash(header))) {
    throw new Rejected('BAD_CERTIFICATE', 'it finalizes another block');
  }
  if (ballot.view !== header.view && !isProposedAgain(header, ballot.view)) {
    throw new Rejected('BAD_CERTIFICATE', 'it finalizes in another view');
  }
  verifyCertificate(proof.certificate, committee);
}

/** The committee that successions lead to, none missing and none of another epoch. */
export function follow(committee: Committee, successions: Iterable<Succession>): Committee {
  for (const { header, finality, following } of successions) {
    verifyFinality(header, finality, committee);
    const isNamed = isEqual(computeAuthoritiesHash(following), header.nextAuthorities);
    if (!isNamed || following.epoch !== committee.epoch + 1n) {
      throw new Rejected('BAD_HEADER', 'another authority set follows');
    }
    committee = new Committee(committee.chainId, following);
  }
  return committee;
}

function verifyCertificate(certificate: Certificate, committee: Committee): void {
  const { ballot, signers, signatures } = certificate;
  checkBallot(ballot, committee, 'BAD_CERTIFICATE');
  if (signers.length !== signatures.length) {
    throw new Rejected('BAD_CERTIFICATE', 'not one signature for each signer');
  }
  if (signers.some((signer, index) => index > 0 && (signers[index - 1] as number) >= signer)) {
    throw new Rejected('BAD_CERTIFICATE', 'signers must ascend and be distinct');
  }
  if (signers.length < committee.quorum) {
    const detail = `${signers.length} signers, the quorum is ${committee.quorum}`;
    throw new Rejected('BAD_CERTIFICATE', detail);
  }
  const last = signers.at(-1) as number;
  if (last >= committee.size) {
    throw new Rejected('BAD_CERTIFICATE', `no authority ${last} in this epoch`);
  }
  const message = computeVoteBytes(committee.chainId, ballot);
  signers.forEach((signer, index) => {
    if (!isValidSignature(committee.getKey(signer), message, signatures[index] as Uint8Array)) {
      throw new Rejected('BAD_CERTIFICATE', `signature of authority ${signer}`);
    }
  });
}

/** The bytes that an authority signs to cast a ballot (rule C2). */
function computeVoteBytes(chainId: Uint8Array, ballot: Ballot): Uint8Array {
  const numbers = [PROTOCOL_VERSION, BigInt(ballot.kind), ballot.epoch, ballot.view];
  return concat(
    TAG_VOTE,
    chainId,
    encodeCount(numbers.length + 1),
    ...numbers.map(encodeNumber),
    digest.encode(ballot.blockHash),
  );
}

/** Whether a block may be voted on in a view after its own (rule C17). */
function isProposedAgain(header: Header, view: bigint): boolean {
  return !isEqual(header.nextAuthorities, header.authorities) && header.view < view;
}

function checkBallot(ballot: Ballot, committee: Committee, reason: Reason): void {
  if (ballot.epoch !== committee.epoch) {
    throw new Rejected(reason, `epoch ${ballot.epoch}, this set is of ${committee.epoch}`);
  }
  if ((ballot.kind === NULLIFY) !== isEqual(ballot.blockHash, NO_BLOCK)) {
    throw new Rejected(reason, 'a nullify names no block, every other vote names one');
  }
}

function checkPlace(header: Header, committee: Committee): void {
  if (!isEqual(header.chainId, committee.chainId)) throw new Rejected('BAD_HEADER', 'another chain');
  const isOfSet = isEqual(header.authorities, committee.authoritiesHash);
  if (header.epoch !== committee.epoch || !isOfSet) {
    throw new Rejected('BAD_HEADER', 'another epoch or authority set');
  }
  if (header.view <= header.parentView || header.height === 0n) {
    throw new Rejected('BAD_HEADER', 'view or height');
  }
}
