// Older: what the libraries expect of Node.js 22 and Node.js 20, which Debian 13 has, does not bring.

Promise.withResolvers ??= function () {
  const found = {};
  found.promise = new this((resolve, reject) => Object.assign(found, { resolve, reject }));
  return found;
};
