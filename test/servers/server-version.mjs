import { MongoClient } from 'mongodb';
import mysql from 'mysql2/promise';
import { Client } from 'pg';

/**
 * Returns the version that the server behind a URL reports; throws if the server does not
 * answer.
 */
export async function serverVersion(url) {
  if (url.startsWith('mongodb')) return mongodbVersion(url);
  return url.startsWith('postgres') ? postgresVersion(url) : mysqlVersion(url);
}

/** Returns the version of MongoDB. A replica set answers only once it has a primary. */
async function mongodbVersion(url) {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 5000 });
  try {
    return (await client.db('admin').command({ buildInfo: 1 })).version;
  } finally {
    await client.close();
  }
}

async function postgresVersion(url) {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5000 });
  await client.connect();
  try {
    const { rows } = await client.query('SHOW server_version');
    return rows[0].server_version;
  } finally {
    await client.end();
  }
}

async function mysqlVersion(url) {
  const connection = await mysql.createConnection({ uri: url, connectTimeout: 5000 });
  try {
    const [rows] = await connection.query('SELECT version() AS version');
    return rows[0].version;
  } finally {
    await connection.end();
  }
}
