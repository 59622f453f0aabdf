import {
  BadRequestException,
  Body,
  Controller,
  ForbiddenException,
  Get,
  Header,
  HttpCode,
  Injectable,
  Param,
  ParseIntPipe,
  Post,
  Query,
  Scope,
  Sse,
  UseGuards,
  UseInterceptors,
  UsePipes,
  type CanActivate,
  type ExecutionContext,
  type MessageEvent,
  type NestInterceptor,
  type PipeTransform,
  type Type,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { from, map, type Observable } from 'rxjs';
import { Locked, LockContext } from '../../lib/index.js';

const Role = Reflector.createDecorator<string>();

/** Accepts a request only if it has the role that the metadata of the handler demands. */
@Injectable()
class RoleGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    const wanted = this.reflector.get(Role, context.getHandler());
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
    if (wanted !== undefined && headers['role'] === wanted) return true;
    throw new ForbiddenException(`${context.getHandler().name} is for ${wanted}`);
  }
}

class Order {
  amount!: number;
}

/**
 * Validates parameters of the declared type `Order`. Like a ValidationPipe, it depends on the
 * type metadata of the handler.
 */
@Injectable()
class OrderPipe implements PipeTransform {
  transform(value: unknown, { metatype }: { metatype?: unknown }): unknown {
    if (metatype !== Order) return value;
    if (typeof (value as Order).amount !== 'number') throw new BadRequestException('amount must be a number');
    return Object.assign(new Order(), value);
  }
}

@Injectable()
class Wrap implements NestInterceptor {
  intercept(_: ExecutionContext, next: { handle(): Observable<unknown> }): Observable<unknown> {
    return next.handle().pipe(map((data) => ({ data })));
  }
}

const answer = (id: number, order: unknown, dry: string | undefined): unknown => ({
  id,
  dry,
  order: order instanceof Order ? order.amount : 'no order',
  lock: LockContext.current()?.key,
});

const byId = { key: (id: number) => `order:${id.toFixed()}` };

@Controller('above')
class Above {
  @Post(':id')
  @HttpCode(202)
  @Header('x-order', 'yes')
  @Role('admin')
  @UseGuards(RoleGuard)
  @UsePipes(OrderPipe)
  @UseInterceptors(Wrap)
  @Locked(byId)
  async ship(
    @Param('id', ParseIntPipe) id: number,
    @Body() order: Order,
    @Query('dry') dry?: string,
  ): Promise<unknown> {
    return answer(id, order, dry);
  }

  @Sse('events')
  @Locked('events')
  async events(): Promise<Observable<MessageEvent>> {
    return from([{ data: LockContext.current()?.key ?? 'unlocked' }, { data: 'last' }]);
  }
}

@Controller('below')
class Below {
  @Locked(byId)
  @Post(':id')
  @HttpCode(202)
  @Header('x-order', 'yes')
  @Role('admin')
  @UseGuards(RoleGuard)
  @UsePipes(OrderPipe)
  @UseInterceptors(Wrap)
  async ship(
    @Param('id', ParseIntPipe) id: number,
    @Body() order: Order,
    @Query('dry') dry?: string,
  ): Promise<unknown> {
    return answer(id, order, dry);
  }

  @Locked('events')
  @Sse('events')
  async events(): Promise<Observable<MessageEvent>> {
    return from([{ data: LockContext.current()?.key ?? 'unlocked' }, { data: 'last' }]);
  }
}

@Controller({ path: 'scoped', scope: Scope.REQUEST })
class Scoped {
  @Get(':id')
  @Locked({ key: (id: string) => `order:${id}` })
  async get(@Param('id') id: string): Promise<unknown> {
    return { id, lock: LockContext.current()?.key };
  }
}

/**
 * Controllers whose routes have guards, pipes, interceptors and other decorators above or
 * below `@Locked()`.
 */
export const controllers: Type[] = [Above, Below, Scoped];
