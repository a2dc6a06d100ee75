/** Says what was probably meant by a name that is none of those, or what they are. */
export function meant(given: string, names: readonly string[]): string {
  const name = nearest(given, names);
  return name === undefined ? `expected one of ${names.join(', ')}` : `did you mean ${name}?`;
}

/** Gives the name that was probably meant, if one is near: a letter wrong, left out or too many, two of them swapped. */
export function nearest(given: string, names: readonly string[]): string | undefined {
  const plain = plainOf(given);
  let best: string | undefined;
  // of three letters one may be wrong; of two, it is another name
  let least = Math.floor(plain.length / 3) + 1;
  for (const name of names) {
    const far = distance(plain, plainOf(name));
    if (far < least) [best, least] = [name, far];
  }
  return best;
}

/** Dashes, underlines and capitals are what people forget first. */
const plainOf = (name: string): string => name.toLowerCase().replace(/[-_]/g, '');

/** How many letters to change, add, leave out or swap with the next: optimal string alignment. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      let least = Math.min(
        (last[j] as number) + 1,
        (row[j - 1] as number) + 1,
        (last[j - 1] as number) + (isSame ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, (before[j - 2] as number) + 1);
      row.push(least);
    }
    [before, last] = [last, row];
  }
  return last[b.length] as number;
}
