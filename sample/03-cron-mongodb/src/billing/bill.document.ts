export interface Bill {
  /** The number of the bill. The numbers have no gaps. */
  _id: number;
  amount: number;
  /** The instance that wrote the bill. */
  by: string;
}
