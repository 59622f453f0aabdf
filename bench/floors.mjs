/**
 * The floor of a store: the time of two durable writes of one row on a connection of the
 * driver's own, without a library.
 *
 * @returns `{ pair(key), select(key), close() }`; `select` reads the row of a key that `pair`
 * has written
 */
export async function openFloor(store, url) {
  const floor = await import(`./floors/${store}.mjs`);
  return floor.openFloor(url);
}

/** As many floors side by side, each on its own connection. */
export async function openFloors(store, url, count) {
  const floors = [];
  // One after the other, since the first floor makes the table.
  for (let i = 0; i < count; i++) floors.push(await openFloor(store, url));
  return floors;
}
