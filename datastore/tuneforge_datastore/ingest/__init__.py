"""Raw data to unified records: files, Hugging Face datasets and SQL, in many formats."""
