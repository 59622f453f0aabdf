export interface Account {
  _id: string;
  /** What all its bills come to. */
  due: number;
  /** How many bills it has. */
  bills: number;
}
