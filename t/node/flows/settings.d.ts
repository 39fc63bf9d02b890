/** what build/run/env has, as the test writes it */
export const url: string, growth: string, starter: string, mini: string, keyId: string, keySecret: string;
