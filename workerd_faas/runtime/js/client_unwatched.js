// Inside an isolate with a tail, which sees all there is to see.

export const look = () => null;
export const watched = (handler) => handler ?? {};
