/** Why untrusted input was refused: the names are those of the chain itself. */

const SENTENCES = {
  TOO_LARGE: 'The bytes are over the limit for their kind.',
  MALFORMED: 'The bytes are not an encoding of the kind that was expected.',
  NOT_CANONICAL: 'The bytes decode, but are not the one canonical encoding.',
  BAD_ADDRESS: 'The text is not an address of this network.',
  BAD_SIGNATURE: 'The signature does not hold for this key, chain and content.',
  BAD_PROOF: 'The proof does not hold for the job, lease, payee and amount.',
  BAD_HEADER: 'A field of the header contradicts its parent or its body.',
  BAD_ROOT: 'A root in the header is not the root of what it commits to.',
  BAD_CERTIFICATE: 'The certificate lacks a quorum of valid signatures.',
  BAD_FIELD_ELEMENT: "A commitment is not a canonical element of the proof's field.",
} as const;

export type Reason = keyof typeof SENTENCES;

/** Untrusted input was refused, for one reason, with a detail for people. */
export class Rejected extends Error {
  override readonly name = 'Rejected';
  readonly reason: Reason;
  readonly detail: string;

  constructor(reason: Reason, detail: string = SENTENCES[reason]) {
    super(`${reason}: ${detail}`);
    this.reason = reason;
    this.detail = detail;
  }
}

/** What is to be trusted is no genesis document or checkpoint, or one that must not be used. */
export class InvalidTrust extends Error {
  override readonly name = 'InvalidTrust';
}
