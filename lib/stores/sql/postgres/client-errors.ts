/** The members of pg's client that ignoreErrors() uses. */
interface Client {
  on(event: 'error', listener: () => void): void;
}

/**
 * Keeps an error of a new client from ending the process. It is a listener for the event
 * `connect` of a pool of pg.
 *
 * A server that is shutting down may accept a connection and end it in the same packet. At
 * that moment neither the pool nor the borrower listens for errors of the client. With this
 * listener, the borrower's next query fails with the error.
 */
export function ignoreErrors(client: unknown): void {
  // The types of pools say nothing about the members of a client.
  (client as Client).on('error', () => undefined);
}
