/** The members used of pg's client. */
interface Client {
  on(event: 'error', listener: () => void): void;
}

/**
 * Keeps an error of a new client from ending the process. Listen with it to the event
 * `connect` of a pool of pg.
 *
 * A server that is shutting down may accept a connection and end it in the same packet. The
 * pool then lends the client already and does not listen itself, and the borrower cannot
 * listen yet. The next query on the client fails with the error.
 */
export function ignoreErrors(client: unknown): void {
  (client as Client).on('error', () => undefined); // the pool gives each client without a type
}
