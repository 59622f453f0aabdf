/**
 * Opens the floor of a store, with which locks are compared: two durable writes of one row,
 * through the driver alone, on a connection of its own.
 *
 * @returns `{ pair(key), select(key), close() }`; `select` reads the row of a key that `pair`
 * has written
 */
export async function openFloor(store, url) {
  const floor = await import(`./floors/${store}.mjs`);
  return floor.openFloor(url);
}

/** Opens several floors, each with its own connection, to measure them side by side. */
export async function openFloors(store, url, count) {
  const floors = [];
  // The floors are opened one after the other, since the first one creates the table.
  for (let i = 0; i < count; i++) floors.push(await openFloor(store, url));
  return floors;
}
