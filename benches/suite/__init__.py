"""The classes that asv runs over the history of this repository; see asv.conf.json."""
