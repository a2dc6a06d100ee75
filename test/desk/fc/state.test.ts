import * as assert from 'uvu/assert';
import { createStates, type State } from '../../../src/desk/fc/state.ts';
import { suite } from '../../helpers.ts';

const state = suite('state of an instance');

/** Moves through all of them. */
function through(...moves: State[]): State {
  const states = createStates();
  for (const to of moves) states.move(to);
  return states.current;
}

state('should go from the start to the end, and end from anywhere', () => {
  assert.is(through(), 'starting');
  assert.is(through('accepting', 'ready', 'stopping', 'exited'), 'exited');
  assert.is(through('accepting', 'stopping', 'exited'), 'exited');
  assert.is(through('stopping', 'exited'), 'exited');
  assert.is(through('exited'), 'exited', 'where no process could be started');
});

state('should throw at a move that there is not', () => {
  const illegal: [State[], State][] = [
    [[], 'ready'],
    [['accepting'], 'starting'],
    [['accepting', 'ready'], 'accepting'],
    [['accepting', 'ready'], 'exited'],
    [['stopping'], 'ready'],
    [['stopping'], 'stopping'],
    [['stopping', 'exited'], 'stopping'],
  ];
  for (const [moves, to] of illegal) {
    assert.throws(() => through(...moves, to), `cannot be ${to}`, [...moves, to].join(' → '));
  }
});

state.run();
