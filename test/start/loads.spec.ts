import { describe, expect, it } from '@jest/globals';
import { modulesOf } from './loaded-modules.js';

const CLI = 'dist/esm/cli/main.js'; // `npm run build` makes it

describe('The command line loads only what a command needs', () => {
  it('B79 --help loads no Nest, no driver and no store', async () => {
    const { ours, packages } = await modulesOf([CLI, '--help']);

    expect(packages).toEqual(['commander', 'ms']);
    expect(ours).toContain(CLI.replace('dist/esm/', ''));
    expect(ours).not.toContain('lock.service.js');
    expect(ours.length).toBeLessThan(40);
  });

  it('B79 --help of a command and ddl load no more than --help', async () => {
    const { ours } = await modulesOf([CLI, '--help']);

    expect((await modulesOf([CLI, 'hold', '--help'])).ours).toEqual(ours);
    expect((await modulesOf([CLI, 'ddl', '--dialect', 'sqlite'])).ours).toEqual(ours);
  });
});
