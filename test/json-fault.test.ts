import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { describe, readJson } from '../src/json-fault.ts';
import { suite } from './helpers.ts';

const json = suite('json fault');

/** What is said of a text, and that JSON.parse has no other opinion of it. */
function faultOf(text: string): string | undefined {
  const { fault } = readJson(text);
  assert.is(fault === undefined, isJson(text), text);
  return fault && describe(fault);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

json('should tell line, column and what was expected there', () => {
  const cases: [text: string, fault: string][] = [
    ['', 'line 1, column 1: expected an object, got an empty file'],
    [' \n\n', 'line 3, column 1: expected an object, got an empty file'],
    ['{', 'line 1, column 2: expected } for the { of line 1, got the end of the file'],
    ['{\n  "a": [1,\n', 'line 3, column 1: expected ] for the [ of line 2, got the end of the file'],
    ['{ "a": ', 'line 1, column 8: expected a value, got the end of the file'],
    ['{ "a"', 'line 1, column 6: expected a colon after the key "a", got the end of the file'],
    ['{ "a" 1 }', 'line 1, column 7: expected a colon after the key "a", got 1'],
    // what is forgotten at the end of a line shows at the next
    ['{\n  "a": 1\n  "b": 2\n}', 'line 3, column 3: expected a comma or }, got "b"'],
    ['[1 2]', 'line 1, column 4: expected a comma or ], got 2'],
    ['[1}', 'line 1, column 3: expected a comma or ], got }'],
    ['[,1]', 'line 1, column 2: expected a value, got ,'],
    ['{ "a": 1,\r\n}', 'line 1, column 9: expected no comma before }'],
    ['[\r1\r,\r]', 'line 3, column 1: expected no comma before ]'],
    ['[1,,2]', 'line 1, column 4: expected a value, got ,'],
    ['{} {}', 'line 1, column 4: expected the end of the file, got {'],
    ['{ // why\n}', 'line 1, column 3: expected no comment: JSON has none'],
    ['/* why */ {}', 'line 1, column 1: expected no comment: JSON has none'],
    ['{} # why', 'line 1, column 4: expected no comment: JSON has none'],
    ["{ 'a': 1 }", 'line 1, column 3: expected a key in double quotes, got single ones'],
    ['{ "a": \'b\' }', 'line 1, column 8: expected a string in double quotes, got single ones'],
    ['{ a: 1 }', 'line 1, column 3: expected a key in double quotes, got a'],
    ['{ 1: 1 }', 'line 1, column 3: expected a key in double quotes, got 1'],
    ['{ "a: 1\n}', 'line 1, column 3: expected a " that ends the string, got the end of the line'],
    ['["a', 'line 1, column 2: expected a " that ends the string, got the end of the file'],
    ['["C:\\dir"]', 'line 1, column 5: expected one of \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0000, got \\d'],
    ['["\\u12g4"]', 'line 1, column 3: expected one of \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u0000, got \\u'],
    ['["a\tb"]', 'line 1, column 4: expected \\t in a string, got a tab'],
    ['["\u0001"]', 'line 1, column 3: expected \\u and four digits in a string, got a control character'],
    ['[01]', 'line 1, column 2: expected a number as JSON has them, got 01'],
    ['[1.]', 'line 1, column 2: expected a number as JSON has them, got 1.'],
    ['[.5]', 'line 1, column 2: expected a number as JSON has them, got .5'],
    ['[+1]', 'line 1, column 2: expected a number as JSON has them, got +1'],
    ['[-]', 'line 1, column 2: expected a number as JSON has them, got -'],
    ['[0x10]', 'line 1, column 2: expected a number as JSON has them, got 0x10'],
    ['[1e]', 'line 1, column 2: expected a number as JSON has them, got 1e'],
    ['[True]', 'line 1, column 2: expected a value, got True'],
    ['[undefined]', 'line 1, column 2: expected a value, got undefined'],
    ['[nullable]', 'line 1, column 2: expected a value, got nullable'],
    ['[NaN]', 'line 1, column 2: expected a value, got NaN'],
    ['{ “a”: 1 }', 'line 1, column 3: expected a key in double quotes, got “a”'],
    ['{\u00a0"a": 1 }', 'line 1, column 2: expected a key in double quotes, got U+00A0'],
    ['\ufffd\ufffd{\u0000', 'line 1, column 1: expected UTF-8, got another encoding'],
    ['functions:\n  - name: a', 'line 1, column 1: expected a value, got functions'],
    [`{ ${'x'.repeat(50)}: 1 }`, `line 1, column 3: expected a key in double quotes, got ${'x'.repeat(27)}...`],
  ];
  for (const [text, fault] of cases) assert.is(faultOf(text), fault, text);
  // JSON.parse goes deeper, but whoever wrote that is a program
  assert.match(readJson('['.repeat(100_000)).fault?.text ?? '', 'expected no more than 500 levels');
});

json('should find nothing wrong with JSON', () => {
  for (const text of ['{}', ' [ ] ', '"a\\u00e9\\n"', '-0.5e+10', 'true', '{"a":{"b":[1,"",null,false]},"c":-0}\r\n'])
    assert.is(faultOf(text), undefined);
});

json('should agree with JSON.parse on whatever is written or mistyped', () => {
  const typed = fc.string({ unit: fc.constantFrom(...'{}[]:,"\'\\/ \n\t.-+01eEtfnul#*é'), maxLength: 12 });
  fc.assert(
    fc.property(fc.json(), typed, fc.nat(), fc.nat({ max: 5 }), (text, more, place, removed) => {
      const at = place % (text.length + 1);
      faultOf(text.slice(0, at) + more + text.slice(at + removed));
      faultOf(more);
    }),
    { numRuns: 5000 },
  );
});

json('should name keys that come twice in one object', () => {
  const { fault, duplicates } = readJson(
    '{\n "a": { "b": 1 },\n "b": 2,\n "\\u0061": 3,\n "c": [{ "d": 1, "d": 2 }]\n}',
  );
  assert.is(fault, undefined);
  assert.equal(duplicates.map(describe), [
    'line 4, column 2: the key "\\u0061" is there already, on line 2',
    'line 5, column 18: the key "d" is there already, on line 5',
  ]);
});

json.run();
