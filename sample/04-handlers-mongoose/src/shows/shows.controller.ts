import {
  Body,
  Controller,
  Delete,
  Get,
  Param,
  ParseIntPipe,
  Post,
  UseInterceptors,
  type ExecutionContext,
} from '@nestjs/common';
import { ParseObjectIdPipe } from '@nestjs/mongoose';
import { Types } from 'mongoose';
import { LockInterceptor } from 'nestjs-locked';
import { Show } from './show.schema.js';
import { ShowsService } from './shows.service.js';

// ShowsService.book has the same key, with the id in lower case. A key function receives the
// id before pipes parse it, so it makes 65B and 65b one key itself.
const showKey = (context: ExecutionContext): string =>
  `show:${context.switchToHttp().getRequest<{ params: { id: string } }>().params.id.toLowerCase()}`;

@Controller('shows')
export class ShowsController {
  constructor(private readonly shows: ShowsService) {}

  @Post()
  async create(@Body('title') title: string): Promise<Show> {
    return this.shows.create(title);
  }

  @Get(':id')
  async find(@Param('id', ParseObjectIdPipe) id: Types.ObjectId): Promise<Show> {
    return this.shows.find(id);
  }

  @Post(':id/bookings/:guest')
  async book(
    @Param('id', ParseObjectIdPipe) id: Types.ObjectId,
    @Param('guest') guest: string,
    @Body('count', ParseIntPipe) count: number,
  ): Promise<Show> {
    return this.shows.book(id, guest, count);
  }

  @Delete(':id/bookings/:guest')
  @UseInterceptors(LockInterceptor(showKey))
  async cancel(
    @Param('id', ParseObjectIdPipe) id: Types.ObjectId,
    @Param('guest') guest: string,
  ): Promise<Show> {
    return this.shows.cancel(id, guest);
  }
}
