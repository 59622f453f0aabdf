/**
 * Where applications find the database; connections that are open stay where they are when it
 * leads elsewhere.
 */
export class Address {
  static of(url: string): Promise<Address>;
  readonly url: string;
  readonly connections: readonly { port: number; refused: number }[];
  leadTo(url: string): void;
  close(): void;
}
