import { ConflictException, Injectable, NotFoundException } from '@nestjs/common';
import { InjectModel } from '@nestjs/mongoose';
import { Model, type Types } from 'mongoose';
import { LockContext, Locked, type Lock } from 'nestjs-locked';
import { Show } from './show.schema.js';

const ROW = 10; // the number of seats in a row

@Injectable()
export class ShowsService {
  constructor(@InjectModel(Show.name) private readonly shows: Model<Show>) {}

  async create(title: string): Promise<Show> {
    const { _id } = await this.shows.create({ title, seats: Array<null>(ROW).fill(null) });
    return this.find(_id);
  }

  async find(id: Types.ObjectId): Promise<Show> {
    const show = await this.shows.findById(id).lean();
    if (!show) throw new NotFoundException();
    return show;
  }

  /**
   * Books seats next to each other. Only one call at a time runs for each show, on all
   * instances, since a call chooses among all seats of the row.
   */
  @Locked({ key: (id: Types.ObjectId) => `show:${id.toString()}`, wait: '2s' })
  async book(id: Types.ObjectId, guest: string, count: number): Promise<Show> {
    const { seats } = await this.find(id);
    const first = seats.findIndex((_, i) => isFree(seats.slice(i, i + count), count));
    if (first < 0) throw new ConflictException(`There are no ${count} free seats next to each other.`);
    return this.write(id, seats.fill(guest, first, first + count));
  }

  /** Cancels the seats of a guest. The route that calls this method has taken the lock. */
  async cancel(id: Types.ObjectId, guest: string): Promise<Show> {
    const { seats } = await this.find(id);
    return this.write(
      id,
      seats.map((holder) => (holder === guest ? null : holder)),
    );
  }

  /**
   * Writes the seats, unless their last write had a newer fencing token: a holder that was
   * frozen cannot know that it has lost the lock.
   */
  private async write(id: Types.ObjectId, seats: Show['seats']): Promise<Show> {
    const { fencingToken } = currentLock();
    const notNewer = { $lte: fencingToken };
    const { matchedCount } = await this.shows.updateOne(
      { _id: id, fence: notNewer },
      { seats, fence: fencingToken },
    );
    if (matchedCount === 0) throw new ConflictException('Another request has changed the seats meanwhile.');
    return this.find(id);
  }
}

function isFree(seats: Show['seats'], count: number): boolean {
  return seats.length === count && seats.every((guest) => guest === null);
}

function currentLock(): Lock {
  const lock = LockContext.current();
  if (!lock) throw new Error('Seats are only changed under the lock of their show.');
  return lock;
}
