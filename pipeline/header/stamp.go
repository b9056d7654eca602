package header

import "time"

// iso reads a stamp of RFC 3339 at the start of s: 2026-11-22T13:25:06.123456+01:00, with a space for the T, a comma for
// the point, 1 to 9 digits of fraction, an offset without colon, or no zone at all. n is its length, 0 where there is
// none; t is set where zoned is.
func iso(s []byte) (t time.Time, n int, zoned bool) {
	if len(s) < 19 {
		return t, 0, false
	}
	d := (*[19]byte)(s)
	if d[4] != '-' || d[7] != '-' || d[10] != 'T' && d[10] != ' ' || d[13] != ':' || d[16] != ':' {
		return t, 0, false
	}
	y1, y2, mon, day := pair(d[0], d[1]), pair(d[2], d[3]), pair(d[5], d[6]), pair(d[8], d[9])
	hour, minute, sec := pair(d[11], d[12]), pair(d[14], d[15]), pair(d[17], d[18])
	year := y1*100 + y2
	if y1 > 99 || y2 > 99 || mon-1 > 11 || day-1 >= days(year, mon) || !clock(hour, minute, sec) {
		return t, 0, false
	}
	n = 19
	nsec, digits := uint(0), 0
	if n < len(s) && (s[n] == '.' || s[n] == ',') {
		for n++; n < len(s) && s[n]-'0' <= 9; n++ {
			nsec = nsec*10 + uint(s[n]-'0')
			digits++
			if digits > 9 {
				return t, 0, false
			}
		}
		if digits == 0 {
			return t, 0, false
		}
		nsec *= scale[digits]
	}
	offset, z, ok := zone(s[n:])
	if !ok {
		return t, n, false
	}
	unix := civil(year, mon, day)*86400 + int64(hour*3600+minute*60+sec) - int64(offset)
	return time.Unix(unix, int64(nsec)).UTC(), n + z, true
}

var scale = [10]uint{1: 1e8, 2: 1e7, 3: 1e6, 4: 1e5, 5: 1e4, 6: 1e3, 7: 100, 8: 10, 9: 1}

// zone reads Z, +hh:mm or +hhmm: seconds east of UTC and the length.
func zone(s []byte) (offset, n int, ok bool) {
	if len(s) == 0 {
		return 0, 0, false
	}
	if s[0] == 'Z' {
		return 0, 1, true
	}
	if s[0] != '+' && s[0] != '-' || len(s) < 5 {
		return 0, 0, false
	}
	at := 3
	if s[3] == ':' {
		at = 4
		if len(s) < 6 {
			return 0, 0, false
		}
	}
	h, m := pair(s[1], s[2]), pair(s[at], s[at+1])
	if h > 23 || m > 59 {
		return 0, 0, false
	}
	offset = int(h*3600 + m*60)
	if s[0] == '-' {
		offset = -offset
	}
	return offset, at + 2, true
}

// bsd returns the length of a stamp of RFC 3164 at the start of s, 0 where there is none: Nov 22 13:25:06, as others
// write it also with a year behind the day, a day of one digit or with a zero, or a fraction. It has no zone and mostly
// no year, so nothing is made of it.
func bsd(s []byte) int {
	if len(s) < 14 || s[3] != ' ' || !month(s[0], s[1], s[2]) {
		return 0
	}
	i := 4
	if s[i] == ' ' {
		i++
	}
	day := uint(s[i] - '0')
	i++
	if s[i]-'0' <= 9 {
		day = day*10 + uint(s[i]-'0')
		i++
	}
	if day-1 > 30 || s[i] != ' ' {
		return 0
	}
	i++
	if len(s) > i+5 && s[i+4] == ' ' && pair(s[i], s[i+1]) <= 99 && pair(s[i+2], s[i+3]) <= 99 {
		i += 5
	}
	if len(s) < i+8 {
		return 0
	}
	d := (*[8]byte)(s[i:])
	if d[2] != ':' || d[5] != ':' || !clock(pair(d[0], d[1]), pair(d[3], d[4]), pair(d[6], d[7])) {
		return 0
	}
	i += 8
	if i+1 < len(s) && s[i] == '.' && s[i+1]-'0' <= 9 {
		for i++; i < len(s) && s[i]-'0' <= 9; i++ {
		}
	}
	return i
}

// month reports whether the three bytes are an English month's short name.
func month(a, b, c byte) bool {
	switch uint32(a)<<16 | uint32(b)<<8 | uint32(c) {
	case 'J'<<16 | 'a'<<8 | 'n', 'F'<<16 | 'e'<<8 | 'b', 'M'<<16 | 'a'<<8 | 'r', 'A'<<16 | 'p'<<8 | 'r',
		'M'<<16 | 'a'<<8 | 'y', 'J'<<16 | 'u'<<8 | 'n', 'J'<<16 | 'u'<<8 | 'l', 'A'<<16 | 'u'<<8 | 'g',
		'S'<<16 | 'e'<<8 | 'p', 'O'<<16 | 'c'<<8 | 't', 'N'<<16 | 'o'<<8 | 'v', 'D'<<16 | 'e'<<8 | 'c':
		return true
	}
	return false
}

// clock reports whether it is a time of day. 60 is a leap second, and counts as the next minute's first.
func clock(hour, minute, sec uint) bool { return hour < 24 && minute < 60 && sec <= 60 }

// pair reads two digits, and returns more than 99 where they are none.
func pair(a, b byte) uint {
	a, b = a-'0', b-'0'
	if a > 9 || b > 9 {
		return 1000
	}
	return uint(a)*10 + uint(b)
}

// days is how many days the month has.
func days(year, month uint) uint {
	if month == 2 {
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 30 + (month+month>>3)&1
}

// civil returns the days from 1970-01-01 to the given day of the Gregorian calendar. Years begin in March here, so that
// the leap day is the last: the month's first day is then (153m+2)/5.
func civil(year, month, day uint) int64 {
	y, m := int64(year), int64(month)-3
	if m < 0 {
		m += 12
		y--
	}
	if y < 0 { // January and February of year 0
		return -719468 - 366 + (153*m+2)/5 + int64(day) - 1
	}
	return y*365 + y/4 - y/100 + y/400 + (153*m+2)/5 + int64(day) - 1 - 719468
}
