import { fork } from 'node:child_process';
import type { LockModuleDefaults } from '../../lib/options/lock.options.js';
import type { LockWriteConcern } from '../../lib/stores/mongodb/index.js';
import { Instance } from './instances.js';

export interface MongodbInstanceOptions extends Pick<LockModuleDefaults, 'ttl' | 'retry' | 'renewEvery'> {
  url: string;
  databaseName: string;
  /** The name of the driver package. */
  driver: 'mongodb' | 'mongodb6';
  clientOptions?: object;
  writeConcern?: LockWriteConcern;
}

/**
 * The child processes of one test file, each with an application on MongoDB. killAll() ends
 * all of them.
 */
export class MongodbInstances {
  private readonly all: Instance[] = [];

  async start(options: MongodbInstanceOptions, label: string): Promise<Instance> {
    const child = fork('test/processes/mongodb-instance.mjs', [JSON.stringify(options), label], {
      execArgv: [],
    });
    const instance = new Instance(child);
    this.all.push(instance);
    await instance.event('ready');
    return instance;
  }

  async killAll(): Promise<void> {
    await Promise.all(this.all.splice(0).map((instance) => instance.kill('SIGKILL')));
  }
}
