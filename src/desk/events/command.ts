import { meant } from '../../nearest.ts';
import { type FlagTable, on, readTable, row, tableText, text } from '../options.ts';
import { refuse } from '../refuse.ts';
import { changed } from './change.ts';
import { TEMPLATES } from './templates.ts';

const FLAGS = {
  set: {
    value: 'PATH=VALUE',
    ...text,
    default: undefined,
    repeats: true,
    meaning:
      'change a value, by a dotted path to it: events.0.oss.object.key=a.png; where no text stands, the value is JSON; may be repeated',
  },
  help: { ...on, meaning: 'print this' },
} as const satisfies FlagTable;

const list = (): string =>
  Object.entries(TEMPLATES)
    .map(([name, { meaning }]) => row(name, meaning, undefined))
    .join('\n');

/** The text of `--help`. */
export const eventHelp = (): string => `noslate-fc event: an event as one of FC's triggers sends it

Usage: noslate-fc event [NAME] [--set PATH=VALUE]...
       noslate-fc event timer | curl -d @- http://localhost:8080/2023-03-30/functions/app/invocations

  NAME
      one of those below; without it they are listed

${tableText(FLAGS)}

Events:

${list()}
`;

/** The command `noslate-fc event`: prints an event, as JSON, or which there are. Ends the process when it is asked amiss. */
export async function event(args: readonly string[]): Promise<void> {
  const problems: string[] = [];
  const words: string[] = [];
  const flags = readTable(FLAGS, args, problems, words);
  if (flags.help) return void process.stdout.write(eventHelp());
  const [name, ...more] = words;
  if (more.length > 0) problems.push(`expected one NAME, got ${words.join(' ')}`);
  if (name === undefined) {
    if (flags.set.length > 0) problems.push('--set: expected NAME of an event with it, got none');
    if (problems.length > 0) refuse('event', problems);
    return void process.stdout.write(`${list()}\n`);
  }
  const template = Object.hasOwn(TEMPLATES, name) ? TEMPLATES[name] : undefined;
  if (template === undefined) {
    refuse('event', [...problems, `${name}: unknown event, ${meant(name, Object.keys(TEMPLATES))}`]);
  }
  let { event: made } = template;
  for (const change of flags.set) {
    try {
      made = changed(made, change);
    } catch (error) {
      problems.push(`--set: ${(error as Error).message}`);
    }
  }
  if (problems.length > 0) refuse('event', problems);
  process.stdout.write(`${JSON.stringify(made, null, 2)}\n`);
}
