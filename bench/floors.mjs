/**
 * The floor of a store: what two durable writes of one row cost on one connection of the driver's own, with nothing around them.
 *
 * @returns `{ pair(key), select(key), close() }`; `select` reads the row of a key that `pair` has written
 */
export async function openFloor(store, url) {
  const floor = await import(`./floors/${store}.mjs`);
  return floor.openFloor(url);
}

/** As many floors side by side, each on its own connection. */
export async function openFloors(store, url, count) {
  const floors = [];
  for (let i = 0; i < count; i++) floors.push(await openFloor(store, url)); // one after the other: the first makes the table
  return floors;
}
