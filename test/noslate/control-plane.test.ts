import { join } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import * as assert from 'uvu/assert';
import { GrpcError } from '../../src/grpc/status.ts';
import * as Status from '../../src/grpc/status-code.ts';
import { openConnection } from '../../src/h2/connection.ts';
import { setFunctionProfile, setPlatformEnvironmentVariables } from '../../src/noslate/control-plane.ts';
import { deferred, suite, temporary, within } from '../helpers.ts';
import { CONTROL_PLANE } from '../planes/protocol.ts';

const control = suite('control plane');

control('should not be taken to have set what it says it has not', async () => {
  const path = join(temporary(), 'cp-0.sock');
  const server = new Server();
  type Done = (error: null, value: object) => void;
  const answer = (value: object) => (_: unknown, done: Done) => done(null, value);
  server.addService(CONTROL_PLANE, {
    getFunctionProfile: answer({}),
    setFunctionProfile: answer({ set: false }),
    setPlatformEnvironmentVariables: answer({ set: false }),
  });
  await new Promise<void>((done, fail) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), error => (error ? fail(error) : done()));
  });
  const opened = deferred();
  const nothing = (): void => {};
  const events = { onOpen: () => opened.resolve(), onDraining: nothing, onCapacity: nothing, onClose: nothing };
  const connection = openConnection(path, events);
  try {
    await within(5000, opened.promise, 'the connection');
    const profile = { name: 'f', runtime: 'nodejs', url: 'file:///f', signature: '1', handler: 'a.b' } as const;
    for (const call of [
      () => setFunctionProfile(connection, [profile], 5000),
      () => setPlatformEnvironmentVariables(connection, [{ key: 'A', value: 'b' }], 5000),
    ]) {
      const error = await within(
        10_000,
        call().then(
          () => undefined,
          reason => reason as unknown,
        ),
        'the answer',
      );
      assert.instance(error, GrpcError);
      assert.is((error as GrpcError).code, Status.FAILED_PRECONDITION);
      assert.match((error as GrpcError).details, 'the control plane refuses the ');
    }
  } finally {
    connection.close();
    server.forceShutdown();
  }
});

control.run();
