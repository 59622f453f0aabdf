export interface ReplicaSetMember {
  /** Leads to this member alone. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Of mongod itself. */
  readonly pid: number;
  /** Ends the process without a goodbye. */
  kill(): Promise<void>;
  /** It answers nothing from here on; its connections stay open. */
  freeze(): void;
  resume(): void;
}

export interface ReplicaSet {
  readonly url: string;
  readonly version: string;
  readonly members: readonly ReplicaSetMember[];
  /** The primary of now; waits for an election to end. */
  primary(): Promise<ReplicaSetMember>;
  stop(): Promise<void>;
}

/** A replica set of several members, three unless told otherwise; a primary that is gone is missed after two seconds. */
export function startReplicaSet(size?: number): Promise<ReplicaSet>;
