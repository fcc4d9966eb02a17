export { AITBCClient } from './client.js';
export type { ClientOptions } from './client.js';
export type { components as Contract } from './build/schema.js';
export { Listing } from './listing.js';
export type { CallOptions, RetryPolicy } from './transport.js';
export * from './errors.js';
export { Live, Subscription } from './live.js';
export type {
  BlockCreated,
  Gap,
  JobUpdate,
  LiveUpdate,
  MarketplaceUpdate,
  ReceiptCreated,
  SubscribeOptions,
  UpdateType,
  WebSocketClass,
  WebSocketLike,
} from './live.js';

export type { Account, ChainStatus, TransactionStatus, Verdict } from './resources/chain.js';
export type { FileList, StoredFile } from './resources/files.js';
export type {
  Job,
  JobEvent,
  JobList,
  JobRequest,
  JobResults,
  JobStage,
  StreamOptions,
  WaitOptions,
} from './resources/jobs.js';
export type { MarketStats, Offer, OfferList } from './resources/marketplace.js';
export type { ClaimedJob, Earning, Miner, MinerStats } from './resources/miners.js';
export type { Receipt, ReceiptList, ReceiptVerdict } from './resources/receipts.js';
export type { Service, ServiceList, Validation } from './resources/services.js';
export type { Delivery, NewWebhook, Webhook, WebhookList } from './resources/webhooks.js';

export { verifyReceipt } from './verify/bundle.js';
export type { TrustSource, VerifiedReceipt } from './verify/bundle.js';
export type { ReceiptOpening } from './verify/field.js';
export { verifyJobReceipt } from './verify/receipt.js';
export type { ReceiptCore, VerifiedJobReceipt } from './verify/receipt.js';
export { InvalidTrust, Rejected } from './verify/rejection.js';
export type { Reason } from './verify/rejection.js';
export { loadCheckpoint, loadGenesis } from './verify/trust.js';
export type { Trust } from './verify/trust.js';
