import { LockError } from './lock.errors.js';

/**
 * Fields of drivers' errors that may be copied: they name the kind and the place of a failure,
 * and never contain values of a statement.
 */
const SAFE_FIELDS = [
  'code',
  'codeName',
  'errno',
  'sqlState',
  'severity',
  'fatal',
  'routine',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
  'syscall',
  'hostname',
  'address',
  'port',
];
const LONGEST_FIELD = 200;
const LONGEST_TEXT = 2_000;
const FRAMES = 20;
const DEEPEST = 5;
const MOST_ERRORS = 10;

/**
 * The number of characters from which on the beginning of an owner id is hidden like the whole
 * id. Servers may cut a text anywhere, and so in the middle of an id.
 */
const HIDDEN_FROM = 12;
/**
 * The number of characters below which an owner id is hidden only as a whole word: such a
 * short id may be a part of any other word.
 */
const SHORT_ID = 8;
const HIDDEN = '[hidden]';

/**
 * Rebuilds an error of a driver, or of other code, from the fields that cannot hold an owner
 * id or a password.
 *
 * The owner id of a lock is enough to release it, and errors are logged. The errors of drivers
 * contain whole statements with their values. So only fields that are known to be safe are
 * copied, and owner ids in their texts are hidden.
 *
 * @param owners the owner ids that the failed operation has used
 */
export function safeError(error: unknown, owners: readonly string[] = []): unknown {
  return rebuild(error, owners, DEEPEST);
}

/**
 * Hides owner ids, commands with their values, and passwords in a text of a driver or server.
 */
export function safeText(text: string, owners: readonly string[] = []): string {
  return (
    withoutOwners(text, owners)
      .slice(0, LONGEST_TEXT)
      .replaceAll(/\{[^]*(?:\}|$)/g, '{…}') // MongoDB's messages contain the whole command
      // MySQL's messages contain the values of the statement.
      .replaceAll(/\b(value|entry|near)(:?) '[^]*?'(?= (?:for|at) |$)/gi, "$1$2 '…'")
      .replaceAll(/(\/\/)[^\s:@/]*:\S*@/g, '$1…@')
      .replaceAll(/\b(password|pwd)(["']?\s*[=:]\s*)(?!(?:YES|NO)\b)[^\s,;&]+/gi, '$1$2…')
  );
}

function rebuild(error: unknown, owners: readonly string[], depth: number): unknown {
  if (error instanceof LockError) return error;
  if (typeof error === 'string') return safeText(error, owners);
  if (typeof error !== 'object' || error === null)
    return typeof error === 'function' || typeof error === 'symbol' ? undefined : error;
  if (depth === 0) return undefined;

  const found: Record<string, unknown> = error as Record<string, unknown>;
  const message = safeText(textOf(found.message), owners);
  const { cause, errors } = found;
  const options = cause === undefined ? undefined : { cause: rebuild(cause, owners, depth - 1) };
  const safe = Array.isArray(errors)
    ? new AggregateError(
        errors.slice(0, MOST_ERRORS).map((one) => rebuild(one, owners, depth - 1)),
        message,
        options,
      )
    : new Error(message, options);
  const name = nameOf(found.name, owners);
  hide(safe, 'name', name);
  hide(safe, 'stack', [message ? `${name}: ${message}` : name, ...framesOf(found.stack, owners)].join('\n'));
  return Object.assign(safe, fieldsOf(found, owners));
}

function fieldsOf(found: Record<string, unknown>, owners: readonly string[]): object {
  const fields = SAFE_FIELDS.map((field) => [field, fieldOf(found[field], owners)] as const);
  const labels: unknown = found.errorLabels;
  if (Array.isArray(labels) && labels.length > 0)
    fields.push(['errorLabels', labels.map((label) => fieldOf(label, owners))]);
  return Object.fromEntries(fields.filter(([, value]) => value !== undefined));
}

function fieldOf(value: unknown, owners: readonly string[]): unknown {
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  return typeof value === 'string' ? safeText(value, owners).slice(0, LONGEST_FIELD) : undefined;
}

function nameOf(name: unknown, owners: readonly string[]): string {
  const text = textOf(name);
  return /^[\w$.]{1,80}$/.test(text) && safeText(text, owners) === text ? text : 'Error';
}

/**
 * Returns the frames of a stack. The lines before them are left out, since they repeat the
 * message.
 */
function framesOf(stack: unknown, owners: readonly string[]): string[] {
  const frames = textOf(stack)
    .split('\n')
    .filter((line) => /^\s+at /.test(line));
  return frames.slice(0, FRAMES).map((frame) => safeText(frame, owners));
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function hide(error: Error, property: string, value: string): void {
  Object.defineProperty(error, property, { value, enumerable: false, configurable: true, writable: true });
}

function withoutOwners(text: string, owners: readonly string[]): string {
  let clean = text;
  for (const form of owners.flatMap(formsOf)) clean = withoutForm(clean, form);
  // The text may also name owner ids of other holders, which the operation does not know. They
  // are UUIDs, as text or as bytes in hex.
  return clean
    .replaceAll(/[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/gi, HIDDEN)
    .replaceAll(/(?:3\d|[46][1-6]|2d){36}/gi, HIDDEN);
}

/**
 * Returns all forms in which a text may contain an owner id: unchanged, in JSON, in SQL, in a
 * URL, and as bytes.
 */
function formsOf(owner: string): string[] {
  const bytes = Buffer.from(owner);
  const hex = bytes.toString('hex');
  const forms = [
    owner,
    JSON.stringify(owner).slice(1, -1),
    owner.replaceAll("'", "''"),
    owner.replaceAll(/['"\\]/g, '\\$&'),
    encodeURIComponent(owner.toWellFormed()),
    ...(owner.length < SHORT_ID / 2
      ? []
      : [hex, hex.toUpperCase(), bytes.toString('base64').replace(/=+$/, '')]),
  ];
  return [...new Set(forms)].filter((form) => form !== '').toSorted((a, b) => b.length - a.length);
}

/** Hides one form of an owner id, even if the text was cut in the middle of the id. */
function withoutForm(text: string, form: string): string {
  if (form.length < SHORT_ID) {
    const word = form.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
    return text.replaceAll(new RegExp(`(?<![\\p{L}\\p{N}_])${word}(?![\\p{L}\\p{N}_])`, 'gu'), HIDDEN);
  }
  const start = form.slice(0, HIDDEN_FROM);
  let clean = '';
  let from = 0;
  for (let at = text.indexOf(start); at !== -1; at = text.indexOf(start, from)) {
    let length = start.length;
    while (length < form.length && text[at + length] === form[length]) length++;
    clean += text.slice(from, at) + HIDDEN;
    from = at + length;
  }
  return clean + text.slice(from);
}
