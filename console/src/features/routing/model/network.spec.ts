import { expect, it } from 'vitest'
import { isAddress, isNetwork } from './network'

it.each(['10.0.0.0/8', '10.0.0.7', ' 192.168.1.0/24 ', '0.0.0.0/0', '2001:db8::/32', '::1', '::', '::ffff:1.2.3.4', '1:2:3:4:5:6:7:8', 'fe80::1/128'])('%s is a network', (text) =>
  expect(isNetwork(text)).toBe(true),
)

it.each(['', '10.0.0/8', '10.0.0.0/33', '10.0.0.256', '10.0.0.01', '1.2.3.4/', '1.2.3.4/8/8', '1.2.3.4/x', ':::', '1:2:3', '1::2::3', '12345::', '::/129', 'g::1', '1:2:3:4:5:6:7:8::', 'host'])('%j is none', (text) =>
  expect(isNetwork(text)).toBe(false),
)

it('an address has no bits', () => expect([isAddress('10.0.0.7'), isAddress('10.0.0.7/32')]).toEqual([true, false]))
