export interface Bill {
  /** Without gaps. */
  _id: number;
  amount: number;
  /** The instance that wrote it. */
  by: string;
}
