export type { CollectionHandle } from './collection.handle.js';
export { MongoLockStore } from './mongo-lock.store.js';
export { mongooseStore, mongoStore } from './mongo-store.js';
export type {
  AnyCollection,
  CollectionOptions,
  Durability,
  LockWriteConcern,
  MongoLockStoreOptions,
  MongooseStoreOptions,
  MongoStoreOptions,
} from './mongo-store.options.js';
