import { COLUMNS, machineLines } from './table.mjs';

/** The results for people. */
export function markdownOf({ date, command, machine, results }) {
  const row = (cells) => `| ${cells.join(' | ')} |`;
  return `# Bench

\`${command}\`, ${date}

${machineLines(machine)
  .map((line) => `- ${line}`)
  .join('\n')}

${row(COLUMNS.map(([name]) => name))}
${row(COLUMNS.map(() => '---'))}
${results.map((result) => row(COLUMNS.map(([, cellOf]) => cellOf(result)))).join('\n')}
`;
}
