/** Returns the lines at the end of the demo, as spans. Programs can read the last line. */
export function summarize({ ticks, runs, doubles, missed, takeOvers, lost }, beats, objections) {
  const line = (figure, name, meaning) => [
    [`${figure}`.padStart(6)],
    [`  ${name.padEnd(12)}`],
    [meaning, 'faint'],
  ];
  return [
    [],
    [['The run log, which the jobs wrote into the database:']],
    line(ticks, 'ticks', 'seconds from the first run to the last'),
    line(runs, 'runs', 'whose write the fence let through'),
    line(doubles, 'doubles', 'pairs of such runs that overlap'),
    line(missed, 'missed', 'seconds without such a run, as while the lease of a dead holder runs out'),
    line(takeOvers, 'take-overs', 'from an instance that was killed or frozen in its run'),
    line(lost, 'lost', 'locks whose holder learned that it had lost the lock'),
    [],
    [['The second job is empty: it is done before the timers of the other instances fire.']],
    line(beats.seconds, 'seconds', 'in which it ran'),
    line(beats.twice, 'twice', 'of them, in which it ran more than once'),
    ...objections.map((text) => [[`failed: ${text}`, 'bad']]),
    [],
    [
      [
        `demo: ${ticks} ticks, ${runs} runs, ${doubles} doubles, ${missed} missed, ${takeOvers} take-overs, ${lost} lost; ${beats.seconds} seconds of the empty job, ${beats.twice} twice`,
      ],
    ],
  ];
}
