/** The members of pg's client that are used here. */
interface Client {
  on(event: 'error', listener: () => void): void;
}

/**
 * Keeps an error of a new client from ending the process. It is a listener for the event
 * `connect` of a pool of pg.
 *
 * A server that is shutting down may accept a connection and end it in the same packet. At
 * that time the pool no longer listens, and the borrower does not listen yet. The next query
 * on the client fails with the error.
 */
export function ignoreErrors(client: unknown): void {
  (client as Client).on('error', () => undefined); // the types of pools do not show the client
}
