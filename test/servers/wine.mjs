import { existsSync } from 'node:fs';
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { cachedFolder } from './cache-folder.mjs';
import { hasDebianPackages, unpackDebianPackage } from './debian-packages.mjs';
import { execute } from './execute.mjs';

const libraries = 'usr/lib/x86_64-linux-gnu';
const dlls = `${libraries}/wine/x86_64-windows`;

/**
 * The files of Wine that mongod.exe loads, directly or through other files. Only these are
 * kept, because all of Wine would be 800 MB, mostly debug information.
 */
const programs = `
  rpcss.exe services.exe wineboot.exe
  advapi32 apisetschema bcrypt combase concrt140 crypt32 dbghelp dnsapi gdi32 imm32 iphlpapi jsproxy kernel32 kernelbase
  msacm32 msvcp140 msvcrt mswsock nsi ntdll ole32 oleaut32 pdh psapi rpcrt4 sechost secur32 setupapi shcore shell32
  shlwapi ucrtbase user32 userenv vcruntime140 vcruntime140_1 version win32u winhttp winmm ws2_32 zlib1
`;

const isInstalled = () => existsSync('/usr/lib/wine/wine64');
const isRightMachine = () => `${process.platform}-${process.arch}` === 'linux-x64';

export const wineRunsHere = () => isRightMachine() && (isInstalled() || hasDebianPackages());

/**
 * Returns the root folder of Wine: `/` if Wine is installed, or else a folder into which the
 * Wine of Debian 12 was unpacked.
 */
export async function fetchWine() {
  if (!isRightMachine()) throw new Error('Wine runs on linux-x64 alone');
  return isInstalled() ? '/' : cachedFolder('bookworm-wine64-core', unpack);
}

/**
 * Returns the command that runs a Windows program under Wine, and the command's environment
 * variables.
 */
export async function wineCommand(home, program) {
  const wine = await home.readable(await fetchWine());
  return {
    command: [join(wine, 'usr/lib/wine/wine64'), windowsPath(program)],
    env: {
      HOME: home.path,
      WINEPREFIX: await makePrefix(home, wine),
      WINEDLLPATH: join(wine, libraries, 'wine'),
      WINEDLLOVERRIDES: 'mscoree,mshtml,winemenubuilder.exe=',
      WINEDEBUG: '-all',
      LD_LIBRARY_PATH: join(wine, libraries),
    },
  };
}

export const windowsPath = (path) => `Z:${path.replaceAll('/', '\\')}`;

/**
 * Makes the smallest folder that Wine accepts as a Windows system. Wine's own installation
 * would take longer and add a registry and 700 MB of copies, which a server does not need.
 */
async function makePrefix(home, wine) {
  const prefix = join(home.path, 'wine');
  await home.run(['mkdir', '-p', `${prefix}/dosdevices`, `${prefix}/drive_c/windows/temp`]);
  await symlink('../drive_c', join(prefix, 'dosdevices/c:'));
  await symlink('/', join(prefix, 'dosdevices/z:'));
  await symlink(join(wine, dlls), join(prefix, 'drive_c/windows/system32'));
  // Without this file, the first start of Wine would install a complete Windows system.
  await writeFile(join(prefix, '.update-timestamp'), 'disable');
  return prefix;
}

async function unpack(folder) {
  const all = join(folder, 'all');
  await mkdir(all);
  await unpackDebianPackage('bookworm', 'wine64', all);
  // An installed Wine finds these two files through scripts and search paths, an unpacked Wine
  // only under these names.
  await rename(join(all, 'usr/lib/wine/wineserver64'), join(all, 'usr/lib/wine/wineserver'));
  await rename(join(all, 'usr/x86_64-w64-mingw32/lib/zlib1.dll'), join(all, dlls, 'zlib1.dll'));
  const kept = [
    'usr/lib/wine',
    'usr/share/wine',
    `${libraries}/libunwind.so.8`,
    `${libraries}/libunwind.so.8.0.1`,
    `${libraries}/wine/x86_64-unix`,
    ...programs
      .trim()
      .split(/\s+/)
      .map((name) => join(dlls, extname(name) ? name : `${name}.dll`)),
  ];
  await execute(['cp', '-RP', '--parents', ...kept, folder], { cwd: all });
  await rm(all, { recursive: true });
}
