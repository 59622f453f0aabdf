import { openMongoDatabase, openTarget } from '../servers/targets.js';

/** Opens a database and returns a URL with its name, which other processes can use. */
export async function openTickDatabase(
  store: 'postgres' | 'mongodb',
): Promise<{ url: string; dispose(): Promise<void> }> {
  if (store === 'mongodb') {
    const database = openMongoDatabase();
    return { ...database, url: database.url.replace('/?', `/${database.databaseName}?`) };
  }
  const target = await openTarget(store);
  const { host, port, username, password, database } = target.options as unknown as Record<string, string>;
  return {
    url: `postgres://${username}:${password}@${host}:${port}/${database}`,
    dispose: () => target.dispose(),
  };
}
