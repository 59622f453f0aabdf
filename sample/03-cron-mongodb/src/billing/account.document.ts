export interface Account {
  _id: string;
  /** The sum of all bills of the account. */
  due: number;
  /** The number of bills of the account. */
  bills: number;
}
