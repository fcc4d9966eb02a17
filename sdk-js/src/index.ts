export { loadCheckpoint, loadGenesis } from './verify/trust.js';
export type { Trust } from './verify/trust.js';
export { verifyReceipt } from './verify/bundle.js';
export { InvalidTrust, Rejected } from './verify/rejection.js';
export { verifyJobReceipt } from './verify/receipt.js';
