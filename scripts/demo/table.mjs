import { secondOf } from './count-runs.mjs';

/** How many events the table shows. The number is fixed so that the table does not grow. */
const EVENTS = 10;
const STATES = { starting: 'faint', killed: 'bad', frozen: 'cold', stopping: 'faint', stopped: 'faint' };

/**
 * Renders the table as lines of spans. A span is a text and, if the text is not plain, its
 * style.
 */
export function renderTable({ elapsed, instances, lock, runs, events, now }) {
  return [
    [
      ['nestjs-locked', 'strong'],
      ['  one @Cron a second, three processes, one SQLite file'],
      [`${elapsed.toFixed(1)} s`.padStart(10), 'faint'],
    ],
    [],
    [['instance  state     runs  skips  lock', 'faint']],
    ...instances.map((instance) => row(instance, lock, runs)),
    [],
    [['second by second:  █ run   ▒ running   x killed   ! refused by the fence', 'faint']],
    ...instances.map((instance) => lane(instance, runs, now)),
    [],
    ...Array.from({ length: EVENTS }, (_, i) => eventLine(events.slice(-EVENTS)[i])),
  ];
}

/** Renders one event as a line, even for an output that is not a terminal. */
export function eventLine(event) {
  if (!event) return [];
  const { at, kind, text } = event;
  return [
    [`${at.toFixed(1).padStart(5)} s  `, 'faint'],
    [text, { fault: 'bad', effect: 'good' }[kind]],
  ];
}

/** Describes the lock by its token and the rest of its lease. */
export function describeLock({ token, remaining }) {
  return `token ${token}, ${(remaining / 1000).toFixed(1)} s left`;
}

export function acceptedBy(instance, runs) {
  return runs.filter((run) => run.accepted && run.instance === instance.name).length;
}

function row(instance, lock, runs) {
  const { name, state, skips } = instance;
  return [
    [name.padEnd(10), 'strong'],
    [state.padEnd(8), STATES[state]],
    [`${acceptedBy(instance, runs)}`.padStart(6)],
    [`${skips}`.padStart(7)],
    [lock?.holder === name ? `  holds it: ${describeLock(lock)}` : '', 'good'],
  ];
}

function lane({ name, state }, runs, now) {
  const marks = [];
  const seconds = runs.length === 0 ? 0 : secondOf({ started: now }) - secondOf(runs[0]) + 1;
  for (let second = 0; second < seconds; second++) marks.push(['·', 'faint']);
  for (const run of runs) {
    if (run.instance === name) marks[secondOf(run) - secondOf(runs[0])] = mark(run, state);
  }
  return [[name.padEnd(10), 'strong'], ...joined(state === 'killed' ? upToLastRun(marks) : marks)];
}

function mark(run, state) {
  if (run.accepted) return ['█', 'good'];
  if (run.ended !== null) return ['!', 'bad'];
  return state === 'killed' ? ['x', 'bad'] : ['▒', state === 'frozen' ? 'cold' : 'good'];
}

function upToLastRun(marks) {
  return marks.slice(0, marks.findLastIndex(([text]) => text !== '·') + 1);
}

/** Joins neighbouring spans of the same style to one span. */
function joined(spans) {
  const result = [];
  for (const [text, style] of spans) {
    if (result.at(-1)?.[1] === style) result.at(-1)[0] += text;
    else result.push([text, style]);
  }
  return result;
}
