export interface MongodbServer {
  readonly name: string;
  readonly version: string;
  readonly url: string;
  /** Of mongod itself. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** A replica set of one member. */
export function start(): Promise<MongodbServer>;

/** One without a replica set, which refuses transactions. */
export function startStandalone(): Promise<MongodbServer>;
