import { setTimeout as sleep } from 'node:timers/promises';
import { MongoError } from 'mongodb';
import { initiateReplicaSet, launchMongod, runCommand } from './mongod-launch.mjs';
import { startServer } from './server-home.mjs';

/**
 * One mongod of a replica set. `url` leads to this member, even if another member is the
 * primary. `kill` ends the process at once. After `freeze` the member answers nothing, while
 * its connections stay open.
 *
 * @typedef {{
 *   readonly url: string,
 *   readonly host: string,
 *   readonly port: number,
 *   readonly pid: number,
 *   kill(): Promise<void>,
 *   freeze(): void,
 *   resume(): void,
 * }} ReplicaSetMember
 */

/**
 * `primary` resolves to the current primary; during an election, it waits for the next
 * primary.
 *
 * @typedef {{
 *   readonly url: string,
 *   readonly version: string,
 *   readonly members: readonly ReplicaSetMember[],
 *   primary(): Promise<ReplicaSetMember>,
 *   stop(): Promise<void>,
 * }} ReplicaSet
 */

/** The members replace a missing primary after two seconds instead of ten. */
const elections = { electionTimeoutMillis: 2000, heartbeatIntervalMillis: 250, heartbeatTimeoutSecs: 2 };

/**
 * Starts a MongoDB replica set whose members can be killed or frozen.
 *
 * @returns {Promise<ReplicaSet>}
 */
export async function startReplicaSet(size = 3) {
  const launch = () => startServer('mongodb', (home) => launchMongod(home, { replSet: 'rs0' }));
  const launches = await Promise.allSettled(Array.from({ length: size }, launch));
  const servers = launches.flatMap(({ value }) => value ?? []);
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    const failed = launches.find(({ status }) => status === 'rejected');
    if (failed) throw failed.reason;
    const members = servers.map((server) => new Member(server));
    const url = await initiateReplicaSet('rs0', members, elections);
    return { url, version: servers[0].version, members, primary: () => primaryOf(members), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** One mongod of the replica set. */
class Member {
  constructor({ url, pid }) {
    this.url = url;
    this.host = new URL(url).host;
    this.port = Number(new URL(url).port);
    this.pid = pid;
  }

  /** Ends the process at once. */
  async kill() {
    process.kill(this.pid, 'SIGKILL');
    while (this.runs()) await sleep(5);
  }

  /** From here on the member answers nothing; its connections stay open. */
  freeze() {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume() {
    process.kill(this.pid, 'SIGCONT');
  }

  runs() {
    try {
      return process.kill(this.pid, 0);
    } catch (error) {
      if (error.code === 'ESRCH') return false;
      throw error;
    }
  }
}

/** Resolves to the current primary; during an election, it waits for the next primary. */
async function primaryOf(members) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const claims = (await Promise.all(members.map(claimOf))).filter(
      ({ isWritablePrimary }) => isWritablePrimary,
    );
    // Two members may claim to be the primary, because a member that was frozen may not know
    // of a later election yet.
    const [latest] = claims.toSorted((a, b) => (a.election < b.election ? 1 : -1));
    if (latest) return latest.member;
    if (Date.now() > deadline) throw new Error('no member became primary within 30 s');
    await sleep(50);
  }
}

async function claimOf(member) {
  try {
    const hello = await runCommand(member.url, { hello: 1 }, { patienceMs: 500 });
    return { member, isWritablePrimary: hello.isWritablePrimary, election: `${hello.electionId}` };
  } catch (error) {
    if (!(error instanceof MongoError)) throw error;
    return { member, isWritablePrimary: false }; // The member was killed or frozen.
  }
}
