/**
 * Creates a table in which the tests count the holders of a key, independently of the locks.
 *
 * @param {import('typeorm').DataSource} witness
 */
export async function createHolders(witness) {
  await witness.query('CREATE TABLE holders (name varchar(64) NOT NULL PRIMARY KEY, inside int NOT NULL)');
}

/** @param {import('typeorm').DataSource} witness @param {string} name */
export async function addKey(witness, name) {
  await witness.query(`INSERT INTO holders VALUES ('${name}', 0)`);
}

/**
 * Counts this process as a holder of the key during `work`.
 *
 * @param {import('typeorm').DataSource} witness
 * @param {string} name
 * @param {() => Promise<void>} [work] what the holder does meanwhile
 */
export async function stay(witness, name, work = async () => undefined) {
  await change(witness, name, 'inside + 1');
  try {
    await assertAlone(witness, name);
    await work();
    await assertAlone(witness, name);
  } finally {
    await change(witness, name, 'inside - 1');
  }
}

async function change(witness, name, inside) {
  await witness.query(`UPDATE holders SET inside = ${inside} WHERE name = '${name}'`);
}

async function assertAlone(witness, name) {
  const [{ inside }] = await witness.query(`SELECT inside FROM holders WHERE name = '${name}'`);
  if (Number(inside) !== 1) throw new Error(`"${name}" has ${inside} holders`);
}
