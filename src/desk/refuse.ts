/** `EX_CONFIG` of sysexits.h, as the server's own: the same command would fail again. */
const EXIT_CONFIG = 78;

/** Ends the process, and says what is wrong with what a command was given: a line for each problem. */
export function refuse(command: string, problems: readonly string[], code: number = EXIT_CONFIG): never {
  process.stderr.write(problems.map(problem => `noslate-fc ${command}: ${problem}\n`).join(''));
  process.exit(code);
}
