export type { CollectionHandle } from './collection.handle.js';
export { MongoLockStore } from './mongo-lock.store.js';
export { mongoStore } from './mongo-store.js';
export { mongooseStore } from './mongoose-store.js';
export type {
  AnyCollection,
  CollectionOptions,
  Durability,
  LockWriteConcern,
  MongoLockStoreOptions,
  MongooseStoreOptions,
  MongoStoreOptions,
} from './mongo-store.options.js';
