// Inside every function's isolate, before the user's code is there: takes V8's `gc` (pace.js) away,
// and has caches keep nothing, which a cache may always do. Without this every use of one would
// throw, as none is configured.

export const collect = globalThis.__workerd_faas_gc;
globalThis.__workerd_faas_gc = undefined;

const forgetful = {
  async match(request) {
    if (arguments.length === 0) throw new TypeError("match() takes a request");
  },
  async put(request, response) {
    if (arguments.length < 2) throw new TypeError("put() takes a request and a response");
    await response.body?.cancel();
  },
  async delete(request) {
    if (arguments.length === 0) throw new TypeError("delete() takes a request");
    return false;
  },
};
const prototype = Object.getPrototypeOf(caches.default);
for (const name of Object.keys(forgetful)) {
  Object.defineProperty(prototype, name, { value: forgetful[name], writable: true, configurable: true });
}
