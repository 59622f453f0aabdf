import 'reflect-metadata';
import { PassThrough, type Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import {
  Catch,
  Controller,
  Get,
  Res,
  StreamableFile,
  UseFilters,
  UseInterceptors,
  type ArgumentsHost,
  type ExceptionFilter,
} from '@nestjs/common';
import { NEVER, startWith } from 'rxjs';
import { LockInterceptor, LockLostError } from '../../lib/index.js';
import { platforms, startHttp } from './support/applications.js';
import { Gate } from '../module/gate.js';

@Catch(LockLostError)
class Gone implements ExceptionFilter<LockLostError> {
  catch({ key }: LockLostError, host: ArgumentsHost) {
    host.switchToHttp().getResponse().status(410).send({ lost: key });
  }
}

// Milliseconds. The ttl is short because a holder notices a loss only at its next renewal,
// after a third of the ttl.
const ttl = 600;

describe.each(platforms)('LockInterceptor when the lock is lost, %s', (_, adapter) => {
  it('B56 a handler whose lock is lost runs to its end and then fails with LockLostError', async () => {
    const gate = new Gate();
    @Controller()
    class Orders {
      @Get('slow')
      @UseFilters(Gone)
      @UseInterceptors(LockInterceptor('slow', { ttl }))
      async slow() {
        await gate.pass();
        answeredBefore = app.responses[0]!.writableEnded;
        return 'done';
      }

      @Get('other')
      async other() {}
    }
    let answeredBefore: boolean | undefined;
    const app = await startHttp(adapter(), { controllers: [Orders] });
    const answer = app.get('/slow');
    await gate.reached;
    await app.store.holdElsewhere('slow');
    await app.happened('lost');
    // If the loss alone led to an answer to the first request, that answer would arrive before
    // the answer to this second request.
    await app.get('/other');
    gate.open();

    expect([(await answer).status, await (await answer).json()]).toEqual([410, { lost: 'slow' }]);
    expect(answeredBefore).toBe(false);
  });

  it('B56 with rejectOnLoss: false, the answer is sent even if the lock is lost, and onLost runs', async () => {
    const gate = new Gate();
    const [ignored, told] = [new Gate(), new Gate()];
    @Controller()
    class Orders {
      @Get('ignored')
      @UseInterceptors(LockInterceptor('ignored', { ttl, rejectOnLoss: false }))
      async ignored() {
        await ignored.pass();
        return 'done';
      }

      @Get('told')
      @UseInterceptors(LockInterceptor('told', { ttl, onLost: () => gate.pass() }))
      async told() {
        await told.pass();
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });
    const answer = app.get('/ignored');
    await ignored.reached;
    const other = app.get('/told');
    await told.reached;
    await app.store.holdElsewhere('ignored');
    await app.store.holdElsewhere('told');
    await app.happened('lost', 2);
    [ignored, told, gate].forEach(({ open }) => open());

    expect(await (await answer).text()).toBe('done');
    expect((await other).status).toBe(500);
    expect(gate.arrivals).toBe(1);
  });

  it('B67 an Observable that has begun fails at once when its lock is lost', async () => {
    @Controller()
    class Orders {
      @Get('values')
      @UseFilters(Gone)
      @UseInterceptors(LockInterceptor('values', { ttl }))
      values() {
        return NEVER.pipe(startWith('first'));
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });
    const answer = app.get('/values');
    await app.happened('acquired');
    await app.store.holdElsewhere('values');

    expect((await answer).status).toBe(410);
  });

  it.each(['streamed', 'piped'])(
    'B67 a %s response is aborted when its lock is lost, so the client does not take it for complete',
    async (path) => {
      const file = new PassThrough();
      @Controller()
      class Reports {
        @Get('streamed')
        @UseInterceptors(LockInterceptor('report', { ttl }))
        async streamed() {
          return new StreamableFile(file);
        }

        @Get('piped')
        @UseInterceptors(LockInterceptor('report', { ttl }))
        async piped(@Res() response: Writable & { raw?: Writable }) {
          file.pipe(response.raw ?? response);
        }
      }
      const app = await startHttp(adapter(), { controllers: [Reports] });
      file.write('first');
      const reader = (await app.get(`/${path}`)).body!.getReader();
      await reader.read();
      await app.store.holdElsewhere('report');

      await expect(reader.read()).rejects.toThrow('terminated');
    },
  );
});
