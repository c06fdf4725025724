// The event stream: the newest overview, whether it still comes, and the last quarter of an hour of it for the plots.

export const KEPT = 900; // seconds
const SILENCE = 8000; // ms without an overview, after which the connection counts as lost
const AGAIN = 2000; // ms until a stream that was refused is asked for again
const GAP = 6; // seconds between two overviews, beyond which a plot shows no line

/** What a plot of a store draws: columns by name, `at` in epoch seconds. */
const COLUMNS = ["entered", "sent", "failed", "acknowledged", "backlog"];

/**
 * Follows the service. `overview` is the newest one or null, `lostSince` a Date while nothing comes.
 *
 * @param {Function} changed is called with each overview, and with each try to connect that failed
 */
export class Live {
  constructor(changed) {
    this.overview = null;
    this.lostSince = null;
    this.series = new Map();
    this._changed = changed;
    this._stream = null;
    this._silence = null;
    this._again = null;
  }

  start() {
    this.stop();
    this._open();
  }

  stop() {
    clearTimeout(this._silence);
    clearTimeout(this._again);
    this._stream?.close();
    this._stream = null;
    this.overview = null;
    this.lostSince = null;
  }

  _open() {
    clearTimeout(this._again);
    this._stream?.close();
    this._stream = new EventSource("/api/events");
    this._stream.addEventListener("overview", (event) => this._take(JSON.parse(event.data)));
    this._stream.onerror = () => this._lose();
    this._listen();
  }

  _listen() {
    clearTimeout(this._silence);
    this._silence = setTimeout(() => this._lose(), SILENCE);
  }

  _take(overview) {
    this.overview = overview;
    this.lostSince = null;
    for (const store of overview.stores) this._keep(store, Date.parse(overview.at) / 1000);
    this._listen();
    this._changed();
  }

  // A browser gives a stream up for good once a gateway answers for us, and does not notice one that is silent: so it
  // is opened anew here in either case.
  _lose() {
    clearTimeout(this._silence);
    clearTimeout(this._again);
    this._again = setTimeout(() => this._open(), AGAIN);
    this.lostSince ??= new Date();
    this._changed();
  }

  _keep(store, at) {
    const kept = this.series.get(store.store) ?? { at: [], ...Object.fromEntries(COLUMNS.map((name) => [name, []])) };
    this.series.set(store.store, kept);
    const last = kept.at.at(-1);
    if (last !== undefined && at <= last) return;
    if (last !== undefined && at - last > GAP) push(kept, last + GAP / 2, () => null);
    push(kept, at, (name) => (store.error !== null ? null : name === "backlog" ? store.backlog : store.rates[name]));
    const old = kept.at.findIndex((moment) => moment > at - KEPT);
    for (const column of Object.values(kept)) column.splice(0, old);
  }
}

function push(kept, at, valueOf) {
  kept.at.push(at);
  for (const name of COLUMNS) kept[name].push(valueOf(name) ?? null);
}
